package cloud

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Config of a Stack.
type Config struct {
	Template []byte        // the compiled CloudFormation template
	Zips     string        // folder of the functions' zips, by the names that the template has
	Dir      string        // where they are unpacked
	Judges   *Judges       // which services to use
	Pace     time.Duration // how long retries, redeliveries and batching windows take here; default 50 ms
}

// Stack is a deployed template.
type Stack struct {
	Config
	Template  *Template
	Door      *Door
	Objects   *Objects
	Gateway   *Gateway
	Functions map[string]*Function // by logical id
	Roles     map[string]Policy    // of functions, by their logical id

	admin       Caller
	ctx         context.Context //nolint:containedctx // what runs until Stop runs by it
	cancel      context.CancelFunc
	running     sync.WaitGroup
	made        map[string]string // physical ids of what CloudFormation made
	resources   map[string]created
	policies    map[string]Policy // of roles, by ARN
	queues      map[string]Policy // of queues, by ARN
	topics      map[string]Policy // of topics, by ARN
	permissions []permission
	mappings    []mapping

	mu   sync.Mutex
	errs []error
}

// created is a resource that exists: its physical id and attributes.
type created struct {
	ref   string
	attrs map[string]string
}

// Deploy creates what the template says and starts it. When it returns, uploads and requests are served.
func Deploy(ctx context.Context, config Config) (*Stack, error) {
	if config.Pace == 0 {
		config.Pace = 50 * time.Millisecond
	}
	s := &Stack{
		Config: config, Functions: map[string]*Function{}, Roles: map[string]Policy{},
		resources: map[string]created{}, policies: map[string]Policy{}, queues: map[string]Policy{}, topics: map[string]Policy{},
	}
	var err error
	if s.Template, err = ParseTemplate(config.Template); err != nil {
		return nil, err
	}
	if s.Door, err = OpenDoor(config.Judges); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.admin = Caller{Endpoint: s.Door.URL, Key: adminKey}
	s.Objects = &Objects{admin: s.admin, ctx: s.ctx}
	s.Door.created = s.Objects.created
	if err := s.createAll(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) createAll(ctx context.Context) error {
	order, err := s.Template.Order()
	if err != nil {
		return err
	}
	if s.made, err = s.createStack(ctx); err != nil {
		return fmt.Errorf("the stack of CloudFormation: %w", err)
	}
	for _, id := range order {
		r := s.Template.Resources[id]
		create, ok := creators[r.Type]
		if !ok {
			return fmt.Errorf("%s is of the type %s, which the harness does not know: teach it to create or to ignore that", id, r.Type)
		}
		resolved, err := s.Template.Resolve(r.Properties, s.lookup)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		properties, _ := resolved.(map[string]any)
		made, err := create(ctx, s, id, properties)
		if err != nil {
			return fmt.Errorf("creating %s (%s): %w", id, r.Type, err)
		}
		s.resources[id] = made
	}
	if s.Gateway, err = newGateway(s); err != nil {
		return err
	}
	for _, m := range s.mappings {
		if err := s.startMapping(ctx, m); err != nil {
			return fmt.Errorf("event source %s of %s: %w", m.EventSourceArn, m.FunctionName, err)
		}
	}
	return nil
}

func (s *Stack) lookup(id, attr string) (any, error) {
	r, ok := s.resources[id]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s is not there yet", id)
	case attr == "":
		return r.ref, nil
	}
	value, ok := r.attrs[attr]
	if !ok {
		return nil, fmt.Errorf("the attribute %s of %s is not known here", attr, id)
	}
	return value, nil
}

// Ref gives the physical id of a resource: the name of a table or bucket, the ARN of a topic, the URL of a queue.
func (s *Stack) Ref(id string) string { return s.resources[id].ref }

// Attr gives an attribute of a resource, as Fn::GetAtt does.
func (s *Stack) Attr(id, attr string) string { return s.resources[id].attrs[attr] }

// Admin calls AWS in the name of the test, which may do anything.
func (s *Stack) Admin() Caller { return s.admin }

// Stop ends all that runs, and gives what went wrong in the background.
func (s *Stack) Stop() error {
	s.cancel()
	if s.Gateway != nil {
		s.Gateway.close()
	}
	for _, f := range s.Functions {
		f.Stop()
	}
	s.running.Wait()
	s.Door.Close()
	s.Objects.mu.Lock()
	defer s.Objects.mu.Unlock()
	return errors.Join(append(s.errs, s.Objects.errs...)...)
}

// fail notes an error of the background, unless it only comes from stopping.
func (s *Stack) fail(err error) {
	if s.ctx.Err() == nil && err != nil {
		s.mu.Lock()
		s.errs = append(s.errs, err)
		s.mu.Unlock()
	}
}

// functionByARN finds a function by its ARN or name.
func (s *Stack) functionByARN(arn string) (*Function, error) {
	for _, f := range s.Functions {
		if arn == f.Name || arn == f.ARN() {
			return f, nil
		}
	}
	return nil, fmt.Errorf("there is no function %s", arn)
}

// functionProperties are those of AWS::Lambda::Function that are used, and those that change nothing here.
type functionProperties struct {
	FunctionName, Handler, Runtime, Role, Description string
	Code                                              struct{ S3Bucket, S3Key any }
	MemorySize, Timeout                               int
	Environment                                       struct{ Variables map[string]string }
	Architectures                                     []string
	ReservedConcurrentExecutions                      int
	TracingConfig                                     struct{ Mode string }
	RecursiveLoop                                     string
	LoggingConfig, Tags                               any // logs are kept as they come
}

func createFunction(_ context.Context, s *Stack, id string, properties map[string]any) (created, error) {
	var p functionProperties
	if err := convert(properties, &p); err != nil {
		return created{}, err
	}
	key, _ := p.Code.S3Key.(string)
	program, err := unpack(filepath.Join(s.Zips, path.Base(key)), filepath.Join(s.Dir, id))
	if err != nil {
		return created{}, err
	}
	policy, ok := s.policies[p.Role]
	if !ok {
		return created{}, fmt.Errorf("there is no role %q", p.Role)
	}
	f := NewFunction(FunctionConfig{
		Name: p.FunctionName, Program: program, Env: p.Environment.Variables, Key: "KEY" + id, Endpoint: s.Door.URL, Timeout: time.Duration(p.Timeout) * time.Second,
		Memory: p.MemorySize, Concurrency: p.ReservedConcurrentExecutions, Retries: 2, Pace: s.Pace, Recursive: p.RecursiveLoop == "Allow",
	})
	s.Functions[id], s.Roles[id] = f, policy
	s.Door.Admit(f.Key, id, policy)
	// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
	stream := arnOf("logs", "log-group:/aws/lambda/"+f.Name+":log-stream:one")
	platform := []Need{{"logs:CreateLogStream", stream}, {"logs:PutLogEvents", stream}}
	if p.TracingConfig.Mode == "Active" { // https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
		platform = append(platform, Need{"xray:PutTraceSegments", "*"}, Need{"xray:PutTelemetryRecords", "*"})
	}
	for _, need := range platform {
		if err := s.Door.Require(f.Key, need); err != nil {
			return created{}, err
		}
	}
	return created{ref: p.FunctionName, attrs: map[string]string{"Arn": f.ARN()}}, nil
}

// unpack takes a function's zip apart. Lambda wants one program named bootstrap in it, executable.
// https://docs.aws.amazon.com/lambda/latest/dg/golang-package.html
func unpack(archive, dir string) (program string, err error) {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return "", fmt.Errorf("opening %s: %w", archive, err)
	}
	defer r.Close()
	for _, f := range r.File {
		if f.Name != "bootstrap" {
			continue
		}
		if f.Mode().Perm()&0o111 == 0 {
			return "", fmt.Errorf("bootstrap in %s is not executable: %v", archive, f.Mode())
		}
		from, err := f.Open()
		if err != nil {
			return "", err
		}
		defer from.Close()
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
	return "", fmt.Errorf("there is no bootstrap in %s", archive)
}

// text gives a property as the text that an API wants: CloudFormation takes 30 for "30", and JSON for a document.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // it comes from JSON
	}
	return string(body)
}
