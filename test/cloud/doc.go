// Package cloud runs the deployment on one machine, so that a test can use it as its users will: what it starts, it reads
// from the packaged CloudFormation template, and what runs in it is the zipped bootstraps that would be deployed.
//
//	uploader ─PUT─▶ Door ─▶ moto (S3, SNS, SQS), DynamoDB Local          reader ─GET─▶ Gateway ─▶ authorizer
//	                 │ ▲                  ▲ │                                          │
//	  object created │ │ every AWS call   │ │ queues, streams                          │
//	                 ▼ │                  │ ▼                                          ▼
//	                Function (processes) ◀─ sources                                 Function
//
// The services themselves are judges that others wrote: moto for S3, SNS, SQS and CloudFormation, and Amazon's DynamoDB
// Local. What joins them is Lambda, its event sources and API Gateway, and those are here, because nothing that can be had
// plays them from a template without containers. Each part follows the service's documentation, which its comments name,
// and refuses what it does not know rather than guess.
//
// Two things go beyond what an emulator gives. Each function calls AWS with credentials of its own, so the Door knows who
// calls what: it denies what the function's role does not allow, as IAM would, and its record shows what a role allows
// in vain. And a function lives as it does in Lambda: one process per concurrent invocation, stopped (SIGSTOP) between
// invocations, killed at its timeout, started anew after a crash.
//
// Only the passing of time is not as it is there. Retries, visibility timeouts and batching windows are shortened to
// Pace, or a test of a dead-letter queue would take an hour.
//
// # The chapters
//
//	template.go   the compiled template: order, references, functions
//	policy.go     policies: of roles, of queues, and those that authorizers return
//	judges.go     moto and DynamoDB Local as child processes
//	calls.go      calls to AWS's APIs, plain
//	actions.go    what a request needs in terms of IAM: actions on resources
//	door.go       the one endpoint of all services: who calls, may they, and what came of it
//	objects.go    S3's event notifications
//	deploy.go     from a template to a Stack; cloudformation.go has moto make what it knows, resources.go makes the rest
//	runtime.go    one process and its Lambda runtime API
//	function.go   one function: its processes, retries, destinations and logs
//	sources.go    queues that invoke functions; streams.go: table streams that do
//	loops.go      Lambda's detection of events that lead back to their function
//	gateway.go    API Gateway's routes; authorizer.go and responses.go: who may, and what it says if not
package cloud
