// Package testing has the store of the allocator's tests, as leases on disk, for an executable to find.
package testing

import (
	"io/ioutil"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Network is the name of the only network.
const Network = "fake"

const last = "last_reserved_ip.0" // of the first range set, and there is no other

// FakeStore is a data directory of host-local: a file for each address, with its container and interface. The lab that
// the tests run in takes it away.
type FakeStore struct {
	DataDir string
}

// NewFakeStore has the addresses of ipmap leased to containers, and the one address of lastIPs given last.
func NewFakeStore(ipmap map[string]string, lastIPs map[string]net.IP) *FakeStore {
	dataDir, err := ioutil.TempDir("", "store")
	if err != nil {
		panic(err)
	}
	s := &FakeStore{dataDir}
	if err := os.Mkdir(filepath.Join(dataDir, Network), 0755); err != nil {
		panic(err)
	}
	for ip, id := range ipmap {
		s.write(ip, id+"\r\neth0")
	}
	for _, ip := range lastIPs {
		if ip != nil {
			s.write(last, ip.String())
		}
	}
	return s
}

func (s *FakeStore) Lock() error   { return nil }
func (s *FakeStore) Unlock() error { return nil }
func (s *FakeStore) Close() error  { return nil }

func (s *FakeStore) Reserve(id string, ifname string, ip net.IP, rangeID string) (bool, error) {
	if _, err := os.Stat(s.path(ip.String())); err == nil {
		return false, nil
	}
	s.write(ip.String(), id+"\r\n"+ifname)
	s.write(last, ip.String())
	return true, nil
}

func (s *FakeStore) LastReservedIP(rangeID string) (net.IP, error) {
	text, err := ioutil.ReadFile(s.path(last))
	return net.ParseIP(string(text)), err
}

func (s *FakeStore) Release(ip net.IP) error {
	return os.Remove(s.path(ip.String()))
}

func (s *FakeStore) ReleaseByID(id string, ifname string) error {
	for _, ip := range s.GetByID(id, ifname) {
		if err := s.Release(ip); err != nil {
			return err
		}
	}
	return nil
}

func (s *FakeStore) GetByID(id string, ifname string) []net.IP {
	var ips []net.IP
	leases, _ := ioutil.ReadDir(s.path(""))
	for _, lease := range leases {
		text, _ := ioutil.ReadFile(s.path(lease.Name()))
		if ip := net.ParseIP(lease.Name()); ip != nil && strings.HasPrefix(string(text), id+"\r\n") {
			ips = append(ips, ip)
		}
	}
	return ips
}

func (s *FakeStore) path(name string) string {
	return filepath.Join(s.DataDir, Network, name)
}

func (s *FakeStore) write(name, text string) {
	if err := ioutil.WriteFile(s.path(name), []byte(text), 0600); err != nil {
		panic(err)
	}
}
