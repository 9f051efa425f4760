/* ptrace() for User-Mode Linux on CPUs whose register area is larger than UML 6.1 knows (AMX).
 *
 * UML saves and restores its processes' floating point state as NT_X86_XSTATE in a buffer of a fixed size. The host
 * cuts a PTRACE_GETREGSET to that size, but refuses a shorter PTRACE_SETREGSET with EFAULT (xstateregs_set() in
 * arch/x86/kernel/fpu/regset.c), and UML panics: "ptrace set fp regs failed, errno = 14". So a SETREGSET is made whole
 * first: the area as it is, with the caller's bytes over its start. What lies beyond is AMX state, which no process of
 * UML's uses. All else goes to the C library unchanged, which keeps its return convention for PTRACE_PEEK*.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { AREA = 16384 }; /* with AMX it is 11,008 bytes */

long ptrace(enum __ptrace_request request, ...)
{
	static long (*c_library)(enum __ptrace_request, ...);
	static char area[AREA] __attribute__((aligned(64))); /* UML's kernel is one thread */
	va_list arguments;

	if (!c_library)
		c_library = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");

	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *addr = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if (request == PTRACE_SETREGSET && (long)addr == NT_X86_XSTATE) {
		struct iovec *given = data;
		struct iovec whole = { area, sizeof area };

		if (c_library(PTRACE_GETREGSET, pid, addr, &whole) == 0 && given->iov_len < whole.iov_len) {
			memcpy(area, given->iov_base, given->iov_len);
			return c_library(PTRACE_SETREGSET, pid, addr, &whole);
		}
	}
	return c_library(request, pid, addr, data);
}
