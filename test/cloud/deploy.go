package cloud

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config configures a Stack.
type Config struct {
	Template  []byte        // the compiled CloudFormation template
	Zips      string        // folder of the functions' zips, by the names that the template has
	Dir       string        // folder into which they are unpacked
	Emulators Emulators     // the services to use
	Delay     time.Duration // how long retries, redeliveries and batching windows take; default 50 ms
}

// Emulators are the URLs of services that others wrote, so that an independent reading of Amazon's documentation checks
// the adapters' requests.
type Emulators struct {
	Moto     string // S3, SNS, SQS and CloudFormation: https://docs.getmoto.org
	DynamoDB string // DynamoDB Local with -sharedDb, without which each access key would have its own tables
}

// Stack is a deployed template.
type Stack struct {
	Config
	Template      *Template
	Proxy         *Proxy
	Notifications *Notifications
	Gateway       *Gateway
	Functions     map[string]*Function // by logical id
	Roles         map[string]Policy    // of functions, by the function's logical id

	admin       Caller
	cancel      context.CancelFunc
	running     sync.WaitGroup
	physicalIDs map[string]string // of the resources that moto's CloudFormation created
	resources   map[string]created
	policies    map[string]Policy // of roles, by ARN
	queues      map[string]Policy // of queues, by ARN
	topics      map[string]Policy // of topics, by ARN
	permissions []invokePermission
	mappings    []mapping

	mu   sync.Mutex
	errs []error
}

// created is a resource that exists: its physical id and attributes.
type created struct {
	ref   string
	attrs map[string]string
}

// Deploy creates the template's resources and starts them. When it returns, uploads and requests are served, until ctx
// ends or Stop is called.
func Deploy(ctx context.Context, config Config) (*Stack, error) {
	if config.Delay == 0 {
		config.Delay = 50 * time.Millisecond
	}
	s := &Stack{
		Config: config, Functions: map[string]*Function{}, Roles: map[string]Policy{}, resources: map[string]created{},
		policies: map[string]Policy{}, queues: map[string]Policy{}, topics: map[string]Policy{},
		Notifications: &Notifications{},
	}
	var err error
	if s.Template, err = ParseTemplate(config.Template); err != nil {
		return nil, err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	if s.Proxy, err = newProxy(config.Emulators, func(r *http.Request, event string, h http.Header, body []byte) {
		s.Notifications.created(ctx, r, event, h, body)
	}); err != nil {
		return nil, err
	}
	s.admin = Caller{Endpoint: s.Proxy.URL, Key: adminKey}
	s.Notifications.admin = s.admin
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
	if s.physicalIDs, err = s.createStack(ctx); err != nil {
		return fmt.Errorf("creating the CloudFormation stack: %w", err)
	}
	for _, id := range order {
		r := s.Template.Resources[id]
		create, ok := creators[r.Type]
		if !ok {
			return fmt.Errorf("%s has type %s, which creators lacks: add a function that creates or ignores it", id, r.Type)
		}
		properties, err := s.properties(id)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if s.resources[id], err = create(ctx, s, id, properties); err != nil {
			return fmt.Errorf("creating %s (%s): %w", id, r.Type, err)
		}
	}
	if s.Gateway, err = newGateway(s); err != nil {
		return err
	}
	for _, m := range s.mappings {
		if err := s.startMapping(ctx, m); err != nil {
			return fmt.Errorf("event source %s of %s: %w", m.EventSourceARN, m.FunctionName, err)
		}
	}
	return nil
}

// motoTypes are the resources that moto's CloudFormation creates: those that moto keeps. It skips subscriptions and
// queue policies, and emulates neither Lambda nor API Gateway; tables are in DynamoDB Local.
var motoTypes = []string{"AWS::S3::Bucket", "AWS::SNS::Topic", "AWS::SQS::Queue"}

// createStack has moto's CloudFormation create resources from the template, and returns their physical ids.
func (s *Stack) createStack(ctx context.Context) (map[string]string, error) {
	resources := map[string]any{}
	for id, r := range s.Template.Resources {
		if !slices.Contains(motoTypes, r.Type) {
			continue
		}
		properties := maps.Clone(r.Properties)
		delete(properties, "NotificationConfiguration") // it names a function; see createBucket
		resources[id] = map[string]any{"Type": r.Type, "Properties": properties}
	}
	body, err := json.Marshal(map[string]any{"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
	if err != nil {
		return nil, err
	}
	in := map[string]string{"StackName": "stack", "TemplateBody": string(body)}
	if _, err := s.admin.Query(ctx, "cloudformation", "CreateStack", in); err != nil {
		return nil, err
	}
	answer, err := s.admin.Query(ctx, "cloudformation", "DescribeStackResources", map[string]string{"StackName": "stack"})
	if err != nil {
		return nil, err
	}
	var out struct {
		Resources []struct {
			LogicalID  string `xml:"LogicalResourceId"`
			PhysicalID string `xml:"PhysicalResourceId"`
		} `xml:"DescribeStackResourcesResult>StackResources>member"`
	}
	if err := xml.Unmarshal([]byte(answer), &out); err != nil {
		return nil, err
	}
	physicalIDs := map[string]string{}
	for _, r := range out.Resources {
		physicalIDs[r.LogicalID] = r.PhysicalID
	}
	for id := range resources {
		if physicalIDs[id] == "" {
			return nil, fmt.Errorf("moto's CloudFormation did not create %s", id)
		}
	}
	return physicalIDs, nil
}

// properties returns the resolved properties of a resource. Those that it depends on must exist.
func (s *Stack) properties(id string) (map[string]any, error) {
	v, err := s.Template.Resolve(s.Template.Resources[id].Properties, s.lookup)
	p, _ := v.(map[string]any)
	return p, err
}

func (s *Stack) convertProperties(id string, to any) error {
	p, err := s.properties(id)
	if err != nil {
		return err
	}
	return convert(p, to)
}

func (s *Stack) lookup(id, attr string) (any, error) {
	r, ok := s.resources[id]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s does not exist yet", id)
	case attr == "":
		return r.ref, nil
	}
	value, ok := r.attrs[attr]
	if !ok {
		return nil, fmt.Errorf("the attribute %s of %s is not supported", attr, id)
	}
	return value, nil
}

// Ref returns the physical id of a resource: the name of a table or bucket, the ARN of a topic, the URL of a queue.
func (s *Stack) Ref(id string) string { return s.resources[id].ref }

// Attr returns an attribute of a resource, as Fn::GetAtt does.
func (s *Stack) Attr(id, attr string) string { return s.resources[id].attrs[attr] }

// Admin returns a caller that may do anything.
func (s *Stack) Admin() Caller { return s.admin }

// Stop ends everything that the stack runs, and returns the errors of the background.
func (s *Stack) Stop() error {
	s.cancel()
	if s.Gateway != nil {
		s.Gateway.close()
	}
	for _, f := range s.Functions {
		f.Stop()
	}
	s.running.Wait()
	s.Proxy.close()
	s.Notifications.mu.Lock()
	defer s.Notifications.mu.Unlock()
	return errors.Join(append(s.errs, s.Notifications.errs...)...)
}

// fail records an error of the background, unless ctx has ended, which causes errors.
func (s *Stack) fail(ctx context.Context, err error) {
	if ctx.Err() == nil && err != nil {
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
