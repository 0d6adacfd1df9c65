// The test bed's recipe for kwok: built by `python -m testbed build`, never imported by anything.
module leasehold.test/testbed/kwok

go 1.26.0

require sigs.k8s.io/kwok v0.8.0
