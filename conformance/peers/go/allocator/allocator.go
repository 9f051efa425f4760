// What the tests of Go's allocator expect in their package, by way of the host-local of PEERS_PLUGINS. Its ranges, which
// the tests describe a network with, are Go's own.
package allocator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend"
	store "github.com/containernetworking/plugins/plugins/ipam/host-local/backend/testing"

	"peers/execute"
)

const netns = "/some/where"

// An executable says which range set it could not allocate of, where there is but one here, and may have details to its
// message.
const whichSet = "failed to allocate for range 0: "

// IPAllocator is a network of one range set. rangeID: a plugin numbers the sets itself.
type IPAllocator struct {
	rangeset *RangeSet
	store    backend.Store
	rangeID  string
}

// Get is an ADD, in which the address is asked for unless it is nil.
func (a *IPAllocator) Get(id string, ifname string, requestedIP net.IP) (*current.IPConfig, error) {
	network, err := a.network(requestedIP)
	if err != nil {
		return nil, err
	}
	result := current.Result{}
	err = execute.Result("host-local", &skel.CmdArgs{
		ContainerID: id,
		Netns:       netns,
		IfName:      ifname,
		StdinData:   network,
	}, &result)
	var answered *types.Error
	if errors.As(err, &answered) {
		return nil, errors.New(strings.TrimPrefix(answered.Msg, whichSet))
	}
	if err != nil {
		return nil, err
	}
	if len(result.IPs) != 1 {
		return nil, fmt.Errorf("%d addresses of one range set", len(result.IPs))
	}
	return result.IPs[0], nil
}

// Release is a DEL.
func (a *IPAllocator) Release(id string, ifname string) error {
	network, err := a.network(nil)
	if err != nil {
		return err
	}
	return execute.Command("host-local", "DEL", &skel.CmdArgs{
		ContainerID: id,
		Netns:       netns,
		IfName:      ifname,
		StdinData:   network,
	})
}

// RangeIter is the order in which ADDs of one container after the other are given addresses.
type RangeIter struct {
	allocator *IPAllocator
	count     int
	startIP   net.IP // the first
}

func (a *IPAllocator) GetIter() (*RangeIter, error) {
	return &RangeIter{allocator: a}, nil
}

// Next is the next container's address and gateway, or nil where there is none left.
func (i *RangeIter) Next() (*net.IPNet, net.IP) {
	i.count++
	found, err := i.allocator.Get(fmt.Sprintf("next%d", i.count), "eth0", nil)
	if err != nil {
		return nil, nil
	}
	if i.startIP == nil {
		i.startIP = short(found.Address.IP)
	}
	return &net.IPNet{IP: short(found.Address.IP), Mask: found.Address.Mask}, found.Gateway
}

func (a *IPAllocator) network(requestedIP net.IP) ([]byte, error) {
	args := map[string]interface{}{}
	if requestedIP != nil {
		args["ips"] = []net.IP{requestedIP}
	}
	ranges := RangeSet{}
	for _, r := range *a.rangeset {
		// Some of the tests' subnets have host bits, which no configuration may.
		r.Subnet.IP = r.Subnet.IP.Mask(r.Subnet.Mask)
		ranges = append(ranges, r)
	}
	return json.Marshal(map[string]interface{}{
		"cniVersion": current.ImplementedSpecVersion,
		"name":       store.Network,
		"type":       "host-local",
		"args":       map[string]interface{}{"cni": args},
		"ipam": map[string]interface{}{
			"type":    "host-local",
			"dataDir": a.store.(*store.FakeStore).DataDir,
			"ranges":  []RangeSet{ranges},
		},
	})
}

// short is an IPv4 address in four bytes, which the tests compare.
func short(ip net.IP) net.IP {
	if four := ip.To4(); four != nil {
		return four
	}
	return ip
}

// mustSubnet is a helper of the tests; its own file is about Go's ranges and left out.
func mustSubnet(text string) types.IPNet {
	subnet, err := types.ParseCIDR(text)
	if err != nil {
		panic(err)
	}
	return types.IPNet{IP: short(subnet.IP), Mask: subnet.Mask}
}
