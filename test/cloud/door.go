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

// adminKey is the access key of the test itself, who may do anything. DynamoDB Local takes letters and digits only.
const adminKey = "TESTADMIN"

// The form of DynamoDB Local's ARNs, and of those that a function would see on AWS. The Door mends it.
var (
	localTable = "arn:aws:dynamodb:ddblocal:000000000000:"
	awsTable   = arnOf("dynamodb", "")
)

// Door is the one endpoint of all AWS services. A request says by its signature which service it is for and who asks, so
// the Door does what IAM does: it denies what the asking function's role does not allow. It remembers who needed what.
// It also sees every object that is created, and has S3's notifications sent: those of moto lack the sequencer, and escape
// keys in a way of their own.
type Door struct {
	URL      string
	server   *httptest.Server
	upstream map[string]*httputil.ReverseProxy // by service
	created  func(r *http.Request, event string, h http.Header, body []byte)
	sent     lineages

	mu      sync.Mutex
	roles   map[string]role // by access key
	used    map[Use]int
	refused []string // what must not happen: denied or not understood
	hooks   map[Use]func() int
}

// Use is that a function needed a permission. Function is its logical id.
type Use struct {
	Function string
	Need
}

type role struct {
	function string
	policy   Policy
}

// OpenDoor opens the door to the judges.
func OpenDoor(j *Judges) (*Door, error) {
	d := &Door{upstream: map[string]*httputil.ReverseProxy{}, roles: map[string]role{}, used: map[Use]int{}, hooks: map[Use]func() int{}}
	d.sent.of = map[[sha256.Size]byte]lineage{}
	for service, address := range map[string]string{"s3": j.Moto, "sns": j.Moto, "sqs": j.Moto, "cloudformation": j.Moto, "dynamodb": j.DynamoDB} {
		target, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		d.upstream[service] = &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				host := r.In.Host
				r.SetURL(target)
				r.Out.Host = host // moto makes queue URLs of it: they shall lead through the door as well
			},
			ModifyResponse: d.after,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				http.Error(w, err.Error(), http.StatusBadGateway) // of a client that went away, mostly
			},
		}
	}
	d.server = httptest.NewServer(d)
	d.URL = d.server.URL
	return d, nil
}

// Close closes it.
func (d *Door) Close() {
	d.server.CloseClientConnections()
	d.server.Close()
}

// Admit lets a function's access key in, with the policy of its role.
func (d *Door) Admit(key, function string, p Policy) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roles[key] = role{function: function, policy: p}
}

// On calls f before each call of an action by a function (its logical id) reaches the service, until remove is called. f gives
// the status to answer with instead, as a service at fault does, or 0 to let the call pass.
func (d *Door) On(function, action string, f func() int) (remove func()) {
	key := Use{Function: function, Need: Need{Action: action}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hooks[key] = f
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.hooks, key)
	}
}

// Require holds what AWS itself does by a function's role against that role, and notes it: nobody calls the Door for it.
func (d *Door) Require(key string, need Need) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	asks, ok := d.roles[key]
	if !ok {
		return fmt.Errorf("nobody has the access key %s", key)
	}
	decision, err := asks.policy.Decide(Request{Action: need.Action, Resource: need.Resource})
	if err != nil {
		return fmt.Errorf("the role of %s: %w", asks.function, err)
	}
	if decision != Allow {
		return fmt.Errorf("the role of %s does not allow what AWS does by it: %s", asks.function, need)
	}
	d.used[Use{Function: asks.function, Need: need}]++
	return nil
}

// contextOf returns the condition keys of a request that policies of this deployment use.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
func contextOf(need Need, r *http.Request) map[string]string {
	if q := r.URL.Query(); need.Action == "s3:ListBucket" && q.Has("prefix") {
		return map[string]string{"s3:prefix": q.Get("prefix")}
	}
	return nil
}

// Used gives what functions needed and got so far, sorted.
func (d *Door) Used() []Use {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Use
	for use := range d.used {
		all = append(all, use)
	}
	slices.SortFunc(all, func(a, b Use) int {
		return cmp.Or(strings.Compare(a.Function, b.Function), strings.Compare(a.String(), b.String()))
	})
	return all
}

// Refused gives what no role allowed, and requests that the Door did not understand.
func (d *Door) Refused() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.refused)
}

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, service := adminKey, ""
	authorization := r.Header.Get("Authorization")
	if m := credential.FindStringSubmatch(authorization); m != nil {
		key, service = m[1], m[2]
	}
	proxy := d.upstream[service]
	if proxy == nil {
		d.refuse(w, service, http.StatusNotImplemented, fmt.Sprintf("%s asks %q of the service %q", key, r.URL, service))
		return
	}
	var body []byte
	if service != "s3" { // an upload may be large, and says all in its first line
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	d.mu.Lock()
	asks, isFunction := d.roles[key]
	d.mu.Unlock()
	if isFunction {
		status, why := d.check(asks, service, r, body)
		if status != http.StatusOK {
			d.refuse(w, service, status, why)
			return
		}
		d.sent.note(service, r.Header, body)
	}
	if service == "dynamodb" {
		body = bytes.ReplaceAll(body, []byte(awsTable), []byte(localTable))
	}
	if service != "s3" {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	proxy.ServeHTTP(w, r)
}

// check decides about a request, and notes what it needed.
func (d *Door) check(asks role, service string, r *http.Request, body []byte) (status int, why string) {
	all, err := needs(service, r, body)
	if err != nil {
		return http.StatusNotImplemented, fmt.Sprintf("%s: %v", asks.function, err)
	}
	for _, need := range all {
		need.Resource = strings.Replace(need.Resource, localTable, awsTable, 1)
		decision, err := asks.policy.Decide(Request{Action: need.Action, Resource: need.Resource, Context: contextOf(need, r)})
		if err != nil {
			return http.StatusNotImplemented, fmt.Sprintf("the role of %s: %v", asks.function, err)
		}
		if decision != Allow {
			return http.StatusForbidden, fmt.Sprintf("%s is not authorized to perform: %s", asks.function, need)
		}
		d.mu.Lock()
		d.used[Use{Function: asks.function, Need: need}]++
		hook := d.hooks[Use{Function: asks.function, Need: Need{Action: need.Action}}]
		d.mu.Unlock()
		if hook == nil {
			continue
		}
		if status := hook(); status != 0 {
			return status, ""
		}
	}
	return http.StatusOK, ""
}

// refuse answers as the service would: each protocol has a form of its own.
func (d *Door) refuse(w http.ResponseWriter, service string, status int, why string) {
	if why != "" { // a fault that was asked for has no reason
		d.mu.Lock()
		d.refused = append(d.refused, why)
		d.mu.Unlock()
	}
	code := map[int]string{http.StatusBadRequest: "InvalidParameter", http.StatusForbidden: "AccessDenied", http.StatusNotImplemented: "NotImplemented", http.StatusInternalServerError: "InternalServerError"}[status]
	message := jsonText(cmp.Or(why, "a fault that the test asked for"))
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
		fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, message)
	default:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
	}
}

// after looks at the answer of a service.
func (d *Door) after(res *http.Response) error {
	r := res.Request
	m := credential.FindStringSubmatch(r.Header.Get("Authorization"))
	if service := r.Header.Get("X-Amz-Target"); service != "" || m != nil && m[2] != "s3" {
		return nil
	}
	if m != nil && res.StatusCode == http.StatusNotFound {
		return d.hide(res, m[1])
	}
	event := createdBy(r)
	if event == "" || res.StatusCode != http.StatusOK || d.created == nil {
		return nil
	}
	body, err := io.ReadAll(res.Body) // of an upload it is empty or a short document
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	d.created(r, event, res.Header, body)
	return nil
}

// hide makes a 403 of S3's 404 for whoever may not list the bucket, and so may not know what is in it.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func (d *Door) hide(res *http.Response, key string) error {
	d.mu.Lock()
	asks, isFunction := d.roles[key]
	defer d.mu.Unlock()
	if !isFunction {
		return nil
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(res.Request.URL.Path, "/"), "/")
	need := Need{"s3:ListBucket", "arn:aws:s3:::" + bucket}
	decision, err := asks.policy.Decide(Request{Action: need.Action, Resource: need.Resource})
	if err != nil {
		return err
	}
	if decision == Allow {
		d.used[Use{Function: asks.function, Need: need}]++
		return nil
	}
	body := `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`
	res.StatusCode, res.Status = http.StatusForbidden, "403 Forbidden"
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a text
	}
	return string(b)
}
