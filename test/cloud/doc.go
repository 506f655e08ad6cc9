// Package cloud runs the deployment on one machine for end-to-end tests: it reads the packaged CloudFormation template
// and runs the zipped functions that would be deployed.
//
//	uploader ─PUT─▶ Proxy ─▶ moto (S3, SNS, SQS), DynamoDB Local          reader ─GET─▶ Gateway ─▶ authorizer
//	                 │ ▲                  ▲ │                                          │
//	  object created │ │ every AWS call   │ │ queues, streams                          │
//	                 ▼ │                  │ ▼                                          ▼
//	                Function (processes) ◀─ event source mappings                   Function
//
// The services are emulators that others wrote: moto for S3, SNS, SQS and CloudFormation, and Amazon's DynamoDB Local.
// This package emulates what connects them: Lambda, its event sources and API Gateway, for which there is no emulator
// that reads a template and needs no containers. Each part follows the service's documentation, which its comments
// cite, and returns an error for anything that it does not support.
//
// Two things go beyond other emulators:
//
//   - Each function calls AWS with its own access key. Proxy denies what the function's role does not allow, as IAM
//     does, and records the permissions that are used, so a test can find those that are not.
//   - A function runs as in Lambda: one process per concurrent invocation, which is stopped (SIGSTOP) between
//     invocations, killed at its timeout, and replaced after a crash.
//
// Only delays differ: retries, visibility timeouts and batching windows are shortened to Config.Delay, because a test
// of a dead-letter queue would otherwise take an hour.
//
// # Files
//
//	template.go       the compiled template: references, intrinsic functions, order of creation
//	deploy.go         from a template to a Stack
//	resources.go      creates resources; messaging.go and lambda.go create those of SNS, SQS, IAM and Lambda
//	proxy.go          the endpoint of all services: authorizes and records requests
//	permissions.go    the permissions that a request requires
//	policy.go         policies of roles, queues and topics, and those that authorizers return
//	calls.go          plain calls of AWS's APIs
//	notifications.go  S3's event notifications
//	runtime.go        one process and its Lambda runtime API
//	function.go       one function: its processes, retries, destinations and logs
//	mappings.go       event source mappings: queues.go polls queues, streams.go reads table streams
//	loops.go          Lambda's detection of recursive loops
//	gateway.go        API Gateway; authorizer.go emulates its authorizers
package cloud
