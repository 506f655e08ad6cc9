// Package template_test holds the deployment to what it promises. It packages serverless.yml with osls, offline, and judges
// the CloudFormation that comes out, because that is what would be deployed.
//
//	package_test.go    packaging: what must be stated, the same twice, two linters
//	template_test.go   the template, and how its parts refer to each other
//	rules_test.go      all rules, and the test that holds the template to them
//	queues_test.go     … delivery: nothing is lost, and someone is called
//	iam_test.go        … who may do what
//	subscribers_test.go … who may subscribe, and only over TLS
//	storage_test.go    … buckets and tables
//	functions_test.go  … functions and their logs
//	gateway_test.go    … routes, authorizer, and what the gateway says by itself
//	metrics_test.go    … alarms and the dashboard show what is measured
//	operations_test.go docs/operations.md, held to the template
//	mutations_test.go  breaks the template, once for each rule at least, and wants it to be told
//
// A rule is a function from a template to complaints: that is what makes it testable.
package template_test
