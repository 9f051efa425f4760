"""The cluster's engine on a real etcd, which the tests start on ports and in directories of their own: `make etcd`."""
