/* The launcher: CPython's core and the modules that a call of a pod needs, in one static executable.

   Only what cannot be Python is here: to start the interpreter without what no call needs (site, encodings, streams), and
   the module _launcher. The tables of modules are generated (freeze.py); they take the place of CPython's own config.o,
   frozen.o and deepfreeze.o, as in its Programs/_bootstrap_python.c. */

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE /* for the tables of modules, the garbage collector's state, and the start of the module _signal */
#include <Python.h>
#include <internal/pycore_gc.h>
#include <internal/pycore_import.h>
#include <internal/pycore_pylifecycle.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

struct program {
    const char *name; /* of the executable, and of the full program that does the same */
    const char *module;
};

#include "frozen.h"

static PyObject *initialise_launcher(void);

struct _inittab _PyImport_Inittab[] = {BUILTIN_MODULES{"_launcher", initialise_launcher}, {0}};

static const struct _frozen no_modules[] = {{0}};
static const struct _module_alias no_aliases[] = {{0}};

const struct _frozen *_PyImport_FrozenBootstrap = bootstrap_modules;
const struct _frozen *_PyImport_FrozenStdlib = no_modules;
const struct _frozen *_PyImport_FrozenTest = no_modules;
const struct _frozen *PyImport_FrozenModules = frozen_modules;
const struct _module_alias *_PyImport_FrozenAliases = no_aliases;

/* Of CPython's own modules none is frozen, as objects neither (Python 3.11 and 3.12 do that). */
int _Py_Deepfreeze_Init(void) { return 0; }
void _Py_Deepfreeze_Fini(void) {}

/* No garbage collection from the first object on (-Wl,--wrap): a call ends before there is garbage worth it, and the
   interpreter's start alone would set off several. */
void __real__PyGC_InitState(struct _gc_runtime_state *state);
void __wrap__PyGC_InitState(struct _gc_runtime_state *state)
{
    __real__PyGC_InitState(state);
    state->enabled = 0;
}

/* No numbers in the builtin modules (-Wl,--wrap): of the 500 that they would begin with our modules need some sixty, which
   were written into their code when it was frozen. */
int __wrap_PyModule_AddIntConstant(PyObject *module, const char *name, long value) { return 0; }

/* The module _launcher */

static char internal[PATH_MAX + 16]; /* the directory of the full program */
static char full_program[sizeof internal + 64];

static PyObject *launcher_setns(PyObject *module, PyObject *descriptor)
{
    int fd = PyObject_AsFileDescriptor(descriptor);
    if (fd < 0)
        return NULL;
    if (setns(fd, CLONE_NEWNET))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *launcher_readable(PyObject *module, PyObject *args)
{
    struct pollfd descriptor = {.events = POLLIN};
    int milliseconds, ready;
    if (!PyArg_ParseTuple(args, "ii", &descriptor.fd, &milliseconds))
        return NULL;
    do
        ready = poll(&descriptor, 1, milliseconds);
    while (ready < 0 && errno == EINTR && !PyErr_CheckSignals()); /* who was stopped waits anew */
    if (ready < 0)
        return PyErr_Occurred() ? NULL : PyErr_SetFromErrno(PyExc_OSError);
    return PyBool_FromLong(ready);
}

static PyMethodDef functions[] = {
    {"setns", launcher_setns, METH_O, NULL}, {"readable", launcher_readable, METH_VARARGS, NULL}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_launcher", .m_methods = functions};

static PyObject *initialise_launcher(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddObject(module, "full_program", Py_BuildValue("O&O&s", PyUnicode_DecodeFSDefault, internal,
                                                                           PyUnicode_DecodeFSDefault, full_program, LOADER)))
        Py_CLEAR(module);
    return module;
}

/* The start */

static int fail(const char *why)
{
    dprintf(STDOUT_FILENO, "{\"cniVersion\":\"1.1.0\",\"code\":100,\"msg\":\"internal error: %s\"}\n", why);
    return 1;
}

static const struct program *find(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    for (const struct program *program = programs; program->name; program++)
        if (!strcmp(name, program->name))
            return program;
    return NULL;
}

/* The program whose executable this is. In the full program it goes by the name by which it was called, as by a link, if
   that is another one of the same program's: host-local is cni-macvlan-py. */
static const struct program *identify(const char *called)
{
    char executable[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", executable, sizeof executable - 1);
    if (length < 0)
        return NULL;
    executable[length] = 0;
    /* Of a file that an upgrade replaced meanwhile, by mv: the kernel adds a word (d_path, fs/d_path.c). */
    static const char deleted[] = " (deleted)";
    size_t rest = length - (sizeof deleted - 1);
    if (length > (ssize_t)sizeof deleted && !strcmp(executable + rest, deleted))
        executable[rest] = 0;
    const struct program *program = find(executable), *by_name = called ? find(called) : NULL;
    if (!program)
        return NULL;
    if (by_name && strcmp(by_name->module, program->module))
        by_name = NULL;
    *strrchr(executable, '/') = 0;
    snprintf(internal, sizeof internal, "%s/_internal", executable);
    snprintf(full_program, sizeof full_program, "%s/%s", internal, (by_name ? by_name : program)->name);
    return program;
}

static PyStatus start_interpreter(void)
{
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    preconfig.configure_locale = 0;
    PyStatus status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status))
        return status;
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0; /* core only: no encodings, no sys.stdout, no import from files */
    config.site_import = 0;
    config.install_signal_handlers = 0;
    return Py_InitializeFromConfig(&config);
}

static int set_argv(char **argv)
{
    PyObject *list = PyList_New(0);
    for (; list && *argv; argv++) {
        PyObject *argument = PyUnicode_DecodeFSDefault(*argv);
        if (!argument || PyList_Append(list, argument))
            return -1;
    }
    return list ? PySys_SetObject("argv", list) : -1;
}

#define FILES 64 /* an ADD has a dozen open, and must not lack one to take back what it has done */
#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* Whether there is room for the files of a call, made if need be: before anything else is done. */
static int raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= FILES)
        return 1;
    limit.rlim_cur = FILES;
    if (limit.rlim_max < FILES)
        limit.rlim_max = FILES; /* which root may (CAP_SYS_RESOURCE) */
    return !setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    const struct program *program = identify(argv[0]);
    if (!program)
        return fail("the launcher was renamed, or /proc is not mounted");
    mallopt(M_TRIM_THRESHOLD, INT_MAX); /* a call ends before memory is worth giving back */
    mallopt(M_TOP_PAD, 1 << 20);
    signal(SIGPIPE, SIG_IGN); /* as Python does: a closed stdout is an error, not the end */
    signal(SIGXFSZ, SIG_IGN); /* likewise: a file that may not grow (RLIMIT_FSIZE) is an error */
    if (!raise_file_limit())
        return fail("RLIMIT_NOFILE is too low: a call needs " STRING(FILES) " open files, and may not raise it");
    if (PyStatus_Exception(start_interpreter()))
        return fail("the interpreter did not start");
    if (!_PySignal_Init(0) && !set_argv(argv)) /* of the whole interpreter's start, the part that _signal needs */
        PyImport_ImportModule(program->module); /* does not return: the plugin ends the process */
    return fail("the plugin ended without an answer");
}
