// Package template_test checks the deployment: it packages serverless.yml with osls, offline, and checks the
// CloudFormation template that would be deployed.
//
// A rule is a function from a template to the violations in it. Next to each rule are mutations that break the
// template, each of which the rule must find.
//
//	package_test.go     packaging: required and optional parameters, two linters
//	template_test.go    the template, and how its parts refer to each other
//	rules_test.go       runs all rules, and all mutations; mutations_test.go has the ways to break a template
//	queues_test.go      rules about delivery: no message is lost
//	alarms_test.go      rules about alarms, and that alarms and the dashboard use metrics which exist
//	iam_test.go         rules about roles and resource policies, which policies_test.go reads
//	subscribers_test.go rules about subscribers and TLS
//	storage_test.go     rules about buckets and tables
//	functions_test.go   rules about functions and their logs; loops_test.go: about recursive loops
//	gateway_test.go     rules about routes, the authorizer and gateway responses; stage_test.go: about the stage
//	operations_test.go  compares docs/operations.md with the template
package template_test
