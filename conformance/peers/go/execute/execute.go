// Package execute stands in for the functions of a CNI plugin that its tests call in their own process: it executes a
// plugin's binary instead, as a runtime does. The binaries are those of the directory in PEERS_PLUGINS.
package execute

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// A plugin that hangs fails its spec; the rest of the suite goes on.
const limit = 60 * time.Second

// Command makes one call of a plugin. What it answers goes to os.Stdout, where the tests look for it; its error object
// (section 5 of the specification) comes back as the error that Go's own functions return.
//
// The tests set the other CNI_* variables for all that they call, CNI_PATH among them. The plugin runs in the network
// namespace of the calling thread, which the caller has locked.
func Command(plugin, command string, args *skel.CmdArgs) error {
	answer, err := run(plugin, command, args)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(answer)
	return err
}

// Result makes an ADD that the test does not know of, and decodes what it answers.
func Result(plugin string, args *skel.CmdArgs, result interface{}) error {
	answer, err := run(plugin, "ADD", args)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, result)
}

func run(plugin, command string, args *skel.CmdArgs) ([]byte, error) {
	directory := os.Getenv("PEERS_PLUGINS")
	var stdout, stderr bytes.Buffer
	child := exec.Command(filepath.Join(directory, plugin))
	child.Env = append(os.Environ(), // the last of two values of one variable counts
		"CNI_COMMAND="+command,
		"CNI_CONTAINERID="+args.ContainerID,
		"CNI_NETNS="+args.Netns,
		"CNI_IFNAME="+args.IfName,
		"CNI_ARGS="+args.Args,
		"CNI_PATH="+directory,
	)
	child.Stdin = bytes.NewReader(args.StdinData)
	child.Stdout, child.Stderr = &stdout, &stderr
	if err := child.Start(); err != nil {
		return nil, err
	}
	clock := time.AfterFunc(limit, func() { child.Process.Kill() })
	defer clock.Stop()
	if err := child.Wait(); err != nil {
		answered := types.Error{}
		if json.Unmarshal(stdout.Bytes(), &answered) != nil || answered.Msg == "" {
			return nil, fmt.Errorf("%s %s: %v, without an error object: %q %q", plugin, command, err,
				stdout.String(), stderr.String())
		}
		return nil, &answered
	}
	return stdout.Bytes(), nil
}
