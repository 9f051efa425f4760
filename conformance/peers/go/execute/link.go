package execute

import (
	"encoding/json"
	"io/ioutil"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ns"
)

// Link makes a link as the tests' createMacvlan and createIpvlan do, which ask nobody for addresses. An ADD has to: ipvlan
// refuses to be without, and results below 0.3.0 cannot be. So the network is given some of its own.
func Link(plugin string, network map[string]interface{}, ifName string, netns ns.NetNS) (*current.Interface, error) {
	dataDir, err := ioutil.TempDir("", "peers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dataDir)
	network["ipam"] = map[string]string{"type": "host-local", "subnet": "10.1.2.0/24", "dataDir": dataDir}
	config, err := json.Marshal(network)
	if err != nil {
		return nil, err
	}
	_, err = run(plugin, "ADD", &skel.CmdArgs{
		ContainerID: "link",
		Netns:       netns.Path(),
		IfName:      ifName,
		StdinData:   config,
	})
	return &current.Interface{Name: ifName, Sandbox: netns.Path()}, err
}
