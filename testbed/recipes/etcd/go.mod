// The test bed's recipe for etcd: built by `python -m testbed build`, never imported by anything.
module leasehold.test/testbed/etcd

go 1.26.0

require go.etcd.io/etcd/server/v3 v3.7.1
