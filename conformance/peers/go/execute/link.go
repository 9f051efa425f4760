package execute

import (
	"encoding/json"
	"fmt"
	"io/ioutil"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ns"
)

// Link makes a link as the tests' createMacvlan and createIpvlan do. An ADD needs addresses, which these functions have
// none of: ipvlan refuses to be without, and results below 0.3.0 cannot be. So it gets one of a network of its own.
func Link(plugin string, conf interface{}, ifName string, netns ns.NetNS) (*current.Interface, error) {
	dataDir, err := ioutil.TempDir("", "peers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dataDir)
	network, err := with(conf, "ipam", map[string]string{
		"type":    "host-local",
		"subnet":  "10.1.2.0/24",
		"dataDir": dataDir,
	})
	if err != nil {
		return nil, err
	}
	_, err = run(plugin, "ADD", &skel.CmdArgs{
		ContainerID: "link",
		Netns:       netns.Path(),
		IfName:      ifName,
		StdinData:   network,
	})
	return &current.Interface{Name: ifName, Sandbox: netns.Path()}, err
}

// with is `conf` as a JSON object in which `key` is `value`.
func with(conf interface{}, key string, value interface{}) ([]byte, error) {
	text, err := json.Marshal(conf)
	if err != nil {
		return nil, err
	}
	object := map[string]interface{}{}
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("%s is no object: %v", text, err)
	}
	object[key] = value
	return json.Marshal(object)
}
