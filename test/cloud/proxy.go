package cloud

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// adminKey is the access key of the test itself, which may do anything. DynamoDB Local accepts only letters and digits.
const adminKey = "TESTADMIN"

// The beginning of an ARN in DynamoDB Local and on AWS. Proxy translates between them.
var (
	localTable = "arn:aws:dynamodb:ddblocal:000000000000:"
	awsTable   = arnOf("dynamodb", "")
)

// Proxy is the single endpoint of all AWS services. The signature of a request names the service and the caller, so
// Proxy authorizes requests as IAM does: it denies what the role of the calling function does not allow, and it records
// the permissions that functions used. It also reports every object that is created, because moto's own event
// notifications lack the sequencer and escape keys in another way than S3.
type Proxy struct {
	URL      string
	server   *httptest.Server
	upstream map[string]*httputil.ReverseProxy // by service
	created  func(r *http.Request, event string, h http.Header, body []byte)
	lineages lineages

	mu      sync.Mutex
	roles   map[string]role // by access key
	used    map[Use]int
	refused []string // requests that were denied or not understood
	hooks   map[Use]func() int
}

// Use is a permission that a function used. Function is its logical id.
type Use struct {
	Function string
	Permission
}

type role struct {
	function string
	policy   Policy
}

// newProxy starts a proxy to the emulators. created, if non-nil, is called for each object that a request creates.
func newProxy(e Emulators, created func(r *http.Request, event string, h http.Header, body []byte)) (*Proxy, error) {
	p := &Proxy{
		upstream: map[string]*httputil.ReverseProxy{}, created: created,
		roles: map[string]role{}, used: map[Use]int{}, hooks: map[Use]func() int{},
	}
	p.lineages.of = map[[sha256.Size]byte]lineage{}
	for service, address := range map[string]string{
		"s3": e.Moto, "sns": e.Moto, "sqs": e.Moto, "cloudformation": e.Moto, "dynamodb": e.DynamoDB,
	} {
		target, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		p.upstream[service] = &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				host := r.In.Host
				r.SetURL(target)
				r.Out.Host = host // moto derives queue URLs from it, which must lead through the proxy
			},
			ModifyResponse: p.modifyResponse,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				http.Error(w, err.Error(), http.StatusBadGateway) // usually because the client disconnected
			},
		}
	}
	p.server = httptest.NewServer(p)
	p.URL = p.server.URL
	return p, nil
}

func (p *Proxy) close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

// addRole registers a function's access key with the policy of its role.
func (p *Proxy) addRole(key, function string, policy Policy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roles[key] = role{function: function, policy: policy}
}

// Intercept calls f before each call of an action by a function (its logical id) reaches the service, until remove is
// called. f returns the status to answer with in place of the service, or 0 to pass the call on.
func (p *Proxy) Intercept(function, action string, f func() int) (remove func()) {
	key := Use{Function: function, Permission: Permission{Action: action}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hooks[key] = f
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.hooks, key)
	}
}

// require checks and records a permission that AWS itself uses in the name of a function, without a call to the proxy.
func (p *Proxy) require(key string, permission Permission) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	caller, ok := p.roles[key]
	if !ok {
		return fmt.Errorf("unknown access key %s", key)
	}
	decision, err := caller.policy.Decide(Request{Action: permission.Action, Resource: permission.Resource})
	if err != nil {
		return fmt.Errorf("the role of %s: %w", caller.function, err)
	}
	if decision != Allow {
		return fmt.Errorf("the role of %s does not allow %s, which AWS needs", caller.function, permission)
	}
	p.used[Use{Function: caller.function, Permission: permission}]++
	return nil
}

// Used returns the permissions that functions used so far, sorted.
func (p *Proxy) Used() []Use {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Use
	for use := range p.used {
		all = append(all, use)
	}
	slices.SortFunc(all, func(a, b Use) int {
		return cmp.Or(strings.Compare(a.Function, b.Function), strings.Compare(a.String(), b.String()))
	})
	return all
}

// Refused returns why requests were refused: no role allows them, or Proxy does not understand them.
func (p *Proxy) Refused() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.refused)
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, service := adminKey, ""
	if m := credential.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		key, service = m[1], m[2]
	}
	upstream := p.upstream[service]
	if upstream == nil {
		p.refuse(w, service, http.StatusNotImplemented, fmt.Sprintf("%s requests %q of the unknown service %q", key, r.URL,
			service))
		return
	}
	var body []byte
	if service != "s3" { // an upload may be large, and the request line describes it completely
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	p.mu.Lock()
	caller, isFunction := p.roles[key]
	p.mu.Unlock()
	if isFunction {
		status, why := p.authorize(caller, service, r, body)
		if status != http.StatusOK {
			p.refuse(w, service, status, why)
			return
		}
		p.lineages.note(service, r.Header, body)
	}
	if service == "dynamodb" {
		body = bytes.ReplaceAll(body, []byte(awsTable), []byte(localTable))
	}
	if service != "s3" {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	upstream.ServeHTTP(w, r)
}

// authorize decides about a request and records the permissions that it uses.
func (p *Proxy) authorize(caller role, service string, r *http.Request, body []byte) (status int, why string) {
	all, err := requiredPermissions(service, r, body)
	if err != nil {
		return http.StatusNotImplemented, fmt.Sprintf("%s: %v", caller.function, err)
	}
	for _, permission := range all {
		permission.Resource = strings.Replace(permission.Resource, localTable, awsTable, 1)
		request := Request{Action: permission.Action, Resource: permission.Resource}
		// https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
		if q := r.URL.Query(); permission.Action == "s3:ListBucket" && q.Has("prefix") {
			request.Context = map[string]string{"s3:prefix": q.Get("prefix")}
		}
		decision, err := caller.policy.Decide(request)
		if err != nil {
			return http.StatusNotImplemented, fmt.Sprintf("the role of %s: %v", caller.function, err)
		}
		if decision != Allow {
			return http.StatusForbidden, fmt.Sprintf("%s is not authorized to perform: %s", caller.function, permission)
		}
		p.mu.Lock()
		p.used[Use{Function: caller.function, Permission: permission}]++
		hook := p.hooks[Use{Function: caller.function, Permission: Permission{Action: permission.Action}}]
		p.mu.Unlock()
		if hook == nil {
			continue
		}
		if status := hook(); status != 0 {
			return status, ""
		}
	}
	return http.StatusOK, ""
}

// refuse answers in the protocol of the service. why is empty for a fault that the test injects.
func (p *Proxy) refuse(w http.ResponseWriter, service string, status int, why string) {
	if why != "" {
		p.mu.Lock()
		p.refused = append(p.refused, why)
		p.mu.Unlock()
	}
	code := map[int]string{
		http.StatusForbidden: "AccessDenied", http.StatusNotImplemented: "NotImplemented",
		http.StatusInternalServerError: "InternalServerError",
	}[status]
	message := jsonString(cmp.Or(why, "injected by the test"))
	switch service {
	case "dynamodb", "sqs":
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if status == http.StatusForbidden {
			code, status = "AccessDeniedException", http.StatusBadRequest
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":"com.amazonaws.service#%s","message":%s}`, code, message)
	case "sns":
		if status == http.StatusForbidden {
			code = "AuthorizationError"
		}
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, message)
	default:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code,
			message)
	}
}

// modifyResponse reports created objects, and hides missing ones as S3 does.
func (p *Proxy) modifyResponse(res *http.Response) error {
	r := res.Request
	m := credential.FindStringSubmatch(r.Header.Get("Authorization"))
	if service := r.Header.Get("X-Amz-Target"); service != "" || m != nil && m[2] != "s3" {
		return nil
	}
	if m != nil && res.StatusCode == http.StatusNotFound {
		return p.hideMissing(res, m[1])
	}
	event := createdBy(r)
	if event == "" || res.StatusCode != http.StatusOK || p.created == nil {
		return nil
	}
	body, err := io.ReadAll(res.Body) // the response to an upload is empty or a short document
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	p.created(r, event, res.Header, body)
	return nil
}

// hideMissing turns S3's 404 into 403 if the caller's role does not allow s3:ListBucket.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func (p *Proxy) hideMissing(res *http.Response, key string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	caller, isFunction := p.roles[key]
	if !isFunction {
		return nil
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(res.Request.URL.Path, "/"), "/")
	permission := Permission{"s3:ListBucket", "arn:aws:s3:::" + bucket}
	decision, err := caller.policy.Decide(Request{Action: permission.Action, Resource: permission.Resource})
	if err != nil {
		return err
	}
	if decision == Allow {
		p.used[Use{Function: caller.function, Permission: permission}]++
		return nil
	}
	body := `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`
	res.StatusCode, res.Status = http.StatusForbidden, "403 Forbidden"
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can be encoded
	}
	return string(b)
}
