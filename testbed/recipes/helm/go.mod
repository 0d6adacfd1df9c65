// The test bed's recipe for helm: built by `python -m testbed build`, never imported by anything.
module leasehold.test/testbed/helm

go 1.26.0

require helm.sh/helm/v3 v3.21.4
