package cloud

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

func createRole(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	var in struct {
		RoleName, Path, Description string
		AssumeRolePolicyDocument    any
		Policies                    []struct{ PolicyName, PolicyDocument any }
		Tags                        any
	}
	if err := convert(p, &in); err != nil { // fails for managed policies, whose statements are not in the template
		return created{}, err
	}
	var all Policy
	for _, one := range in.Policies {
		policy, err := ParsePolicy(one.PolicyDocument)
		if err != nil {
			return created{}, err
		}
		all.Statements = append(all.Statements, policy.Statements...)
	}
	name := cmp.Or(in.RoleName, physicalName(id))
	arn := strings.Join([]string{"arn", Partition, "iam", "", Account, "role/" + name}, ":")
	s.policies[arn] = all
	return created{ref: name, attrs: map[string]string{"Arn": arn}}, nil
}

func createFunction(_ context.Context, s *Stack, id string, properties map[string]any) (created, error) {
	var p struct {
		FunctionName, Handler, Runtime, Role, Description string
		Code                                              struct{ S3Bucket, S3Key any }
		EphemeralStorage                                  struct{ Size int }
		MemorySize, Timeout                               int
		Environment                                       struct{ Variables map[string]string }
		Architectures                                     []string
		ReservedConcurrentExecutions                      int
		TracingConfig                                     struct{ Mode string }
		RecursiveLoop                                     string
		LoggingConfig, Tags                               any // without effect here
	}
	if err := convert(properties, &p); err != nil {
		return created{}, err
	}
	program, err := unpack(filepath.Join(s.Zips, path.Base(stringOf(p.Code.S3Key))), filepath.Join(s.Dir, id))
	if err != nil {
		return created{}, err
	}
	policy, ok := s.policies[p.Role]
	if !ok {
		return created{}, fmt.Errorf("there is no role %q", p.Role)
	}
	f := NewFunction(FunctionConfig{
		Name: p.FunctionName, Program: program, Env: p.Environment.Variables, Key: "KEY" + id, Endpoint: s.Proxy.URL,
		Timeout: time.Duration(p.Timeout) * time.Second, Memory: p.MemorySize, Concurrency: p.ReservedConcurrentExecutions,
		Retries: 2, Delay: s.Delay, Recursive: p.RecursiveLoop == "Allow",
	})
	s.Functions[id], s.Roles[id] = f, policy
	s.Proxy.addRole(f.Key, id, policy)
	// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
	stream := arnOf("logs", "log-group:/aws/lambda/"+f.Name+":log-stream:one")
	platform := []Permission{{"logs:CreateLogStream", stream}, {"logs:PutLogEvents", stream}}
	if p.TracingConfig.Mode == "Active" { // https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
		platform = append(platform, Permission{"xray:PutTraceSegments", "*"}, Permission{"xray:PutTelemetryRecords", "*"})
	}
	for _, permission := range platform {
		if err := s.Proxy.require(f.Key, permission); err != nil {
			return created{}, err
		}
	}
	return created{ref: p.FunctionName, attrs: map[string]string{"Arn": f.ARN()}}, nil
}

// unpack extracts the program from a function's zip. Lambda requires an executable file named bootstrap.
// https://docs.aws.amazon.com/lambda/latest/dg/golang-package.html
func unpack(archive, dir string) (program string, err error) {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return "", fmt.Errorf("opening %s: %w", archive, err)
	}
	defer r.Close()
	from, err := r.Open("bootstrap")
	if err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	defer from.Close()
	if info, err := from.Stat(); err != nil || info.Mode().Perm()&0o111 == 0 {
		return "", errors.Join(fmt.Errorf("bootstrap in %s is not executable", archive), err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "bootstrap")
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	return program, errors.Join(err, to.Close())
}

// invokePermission is AWS::Lambda::Permission.
type invokePermission struct {
	Action, FunctionName, Principal, SourceARN, SourceAccount string
}

func createPermission(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	var in invokePermission
	err := convert(p, &in)
	s.permissions = append(s.permissions, in)
	return created{ref: id}, err
}

// mayInvoke returns an error if no permission allows a service to invoke a function on behalf of a resource.
// https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
func (s *Stack) mayInvoke(f *Function, service, source string) error {
	for _, p := range s.permissions {
		if p.Action == "lambda:InvokeFunction" && p.Principal == service && (p.FunctionName == f.ARN() ||
			p.FunctionName == f.Name) &&
			(p.SourceARN == "" || MatchARN(p.SourceARN, source)) {
			return nil
		}
	}
	return fmt.Errorf("no permission allows %s to invoke %s for %s", service, f.Name, source)
}

func createInvokeConfig(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	var in struct {
		FunctionName, Qualifier  string
		MaximumRetryAttempts     *int
		MaximumEventAgeInSeconds int // longer than any test
		DestinationConfig        destinationConfig
	}
	if err := convert(p, &in); err != nil {
		return created{}, err
	}
	f, err := s.functionByARN(in.FunctionName)
	if err != nil {
		return created{}, err
	}
	if in.MaximumRetryAttempts != nil {
		f.Retries = *in.MaximumRetryAttempts
	}
	if to := in.DestinationConfig.OnFailure.Destination; to != "" {
		f.OnFailure = s.sender(f, to)
	}
	return created{ref: id}, nil
}

// destinationConfig is where events go that failed for good.
type destinationConfig struct{ OnFailure struct{ Destination string } }

// sender returns a function that sends to a queue by the role of a Lambda function.
func (s *Stack) sender(f *Function, queue string) func(context.Context, []byte) error {
	caller := Caller{Endpoint: s.Proxy.URL, Key: f.Key}
	return func(ctx context.Context, record []byte) error {
		url, err := s.queueURL(queue)
		if err != nil {
			return err
		}
		return caller.JSON(ctx, targetQueue+"SendMessage", map[string]any{"QueueUrl": url, "MessageBody": string(record)},
			nil)
	}
}

func (s *Stack) queueURL(arn string) (string, error) {
	for _, r := range s.resources {
		if r.attrs["Arn"] == arn && r.attrs["QueueUrl"] != "" {
			return r.ref, nil
		}
	}
	return "", fmt.Errorf("there is no queue %s", arn)
}
