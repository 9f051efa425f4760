// What the tests of Go's macvlan expect in their package, by way of the macvlan of PEERS_PLUGINS.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ns"

	"peers/execute"
)

func cmdAdd(args *skel.CmdArgs) error   { return execute.Command("macvlan", "ADD", args) }
func cmdCheck(args *skel.CmdArgs) error { return execute.Command("macvlan", "CHECK", args) }
func cmdDel(args *skel.CmdArgs) error   { return execute.Command("macvlan", "DEL", args) }

// NetConf has what the tests set.
type NetConf struct {
	types.NetConf
	Master string
	Mode   string
	MTU    int
}

func createMacvlan(conf *NetConf, ifName string, netns ns.NetNS) (*current.Interface, error) {
	network := map[string]interface{}{
		"cniVersion": conf.CNIVersion,
		"name":       conf.Name,
		"type":       conf.Type,
		"master":     conf.Master,
		"mode":       conf.Mode,
		"mtu":        conf.MTU,
	}
	return execute.Link("macvlan", network, ifName, netns)
}
