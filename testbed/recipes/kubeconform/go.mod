// The test bed's recipe for kubeconform: built by `python -m testbed build`, never imported by anything.
module leasehold.test/testbed/kubeconform

go 1.26.0

require github.com/yannh/kubeconform v0.7.0
