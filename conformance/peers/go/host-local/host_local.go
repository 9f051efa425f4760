// What the tests of Go's host-local expect in their package, by way of the host-local of PEERS_PLUGINS.
package main

import (
	"encoding/json"
	"io/ioutil"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"peers/execute"
)

func cmdAdd(args *skel.CmdArgs) error { return execute.Command("host-local", "ADD", args) }
func cmdDel(args *skel.CmdArgs) error { return execute.Command("host-local", "DEL", args) }

// parseResolvConf is the `dns` of a result, for a network whose resolvConf is that file.
func parseResolvConf(filename string) (*types.DNS, error) {
	dataDir, err := ioutil.TempDir("", "peers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dataDir)
	network, err := json.Marshal(map[string]interface{}{
		"cniVersion": current.ImplementedSpecVersion,
		"name":       "resolv",
		"type":       "host-local",
		"ipam": map[string]interface{}{
			"type":       "host-local",
			"subnet":     "10.1.2.0/24",
			"dataDir":    dataDir,
			"resolvConf": filename,
		},
	})
	if err != nil {
		return nil, err
	}
	result := current.Result{}
	err = execute.Result("host-local", &skel.CmdArgs{
		ContainerID: "resolv",
		Netns:       "/some/where",
		IfName:      "eth0",
		StdinData:   network,
	}, &result)
	return &result.DNS, err
}
