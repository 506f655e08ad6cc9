package cloud

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// notification is one of a bucket's: which objects' creation invokes which function.
type notification struct {
	bucket, event, prefix, suffix string
	function                      *Function
}

func (n notification) wants(bucket, key, event string) bool {
	return n.bucket == bucket && Wildcard(n.event, "s3:"+event) && strings.HasPrefix(key, n.prefix) && strings.HasSuffix(key, n.suffix)
}

// Objects sends S3's event notifications for what goes through the Door.
type Objects struct {
	admin Caller
	ctx   context.Context //nolint:containedctx // of the stack: events outlive the request that caused them

	mu        sync.Mutex
	rules     []notification
	sequencer int64
	sent      []Sent
	errs      []error
}

// Sent is a notification that was sent.
type Sent struct {
	Function *Function
	Key      string
	Event    []byte
}

// Sent gives all that were sent.
func (o *Objects) Sent() []Sent {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.sent)
}

// createdBy says which event a request causes if it succeeds; none if it creates no object.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
func createdBy(r *http.Request) string {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	sub := false // a subresource: the tags of an object, say
	for name := range q {
		sub = sub || name != "x-id" && name != "uploadId" && !strings.HasPrefix(name, "X-Amz-")
	}
	switch {
	case key == "" || sub:
		return ""
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "ObjectCreated:CompleteMultipartUpload"
	case r.Method == http.MethodPut && q.Has("uploadId"):
		return "" // a part
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		return "ObjectCreated:Copy"
	case r.Method == http.MethodPut:
		return "ObjectCreated:Put"
	}
	return ""
}

// created is called by the Door, before the client has its answer: it must not wait for the function.
func (o *Objects) created(r *http.Request, event string, h http.Header, body []byte) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	for _, rule := range o.rules {
		if !rule.wants(bucket, key, event) {
			continue
		}
		message, err := o.message(r, bucket, key, event, h, body)
		o.mu.Lock()
		if err != nil {
			o.errs = append(o.errs, err)
		} else {
			o.sent = append(o.sent, Sent{Function: rule.function, Key: key, Event: message})
		}
		o.mu.Unlock()
		if err == nil {
			rule.function.InvokeAsync(withLineage(o.ctx, parseLineage(r.Header.Get("X-Amzn-Trace-Id"))), message)
		}
	}
}

// message is S3's event, member by member.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
func (o *Objects) message(r *http.Request, bucket, key, event string, h http.Header, body []byte) ([]byte, error) {
	etag, version := h.Get("ETag"), h.Get("X-Amz-Version-Id")
	if len(body) > 0 { // of a copy and of a completed upload the answer has it
		var result struct{ ETag string }
		if err := xml.Unmarshal(body, &result); err != nil {
			return nil, fmt.Errorf("the answer to %s: %w", event, err)
		}
		etag = result.ETag
	}
	if etag == "" {
		return nil, errors.New("an object without an ETag")
	}
	path := r.URL.EscapedPath()
	if version != "" {
		path += "?versionId=" + url.QueryEscape(version)
	}
	_, head, err := o.admin.S3(r.Context(), http.MethodHead, path, nil, nil)
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseInt(head.Get("Content-Length"), 10, 64)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.sequencer = max(o.sequencer+1, time.Now().UnixNano())
	sequencer := fmt.Sprintf("00%016X", o.sequencer)
	o.mu.Unlock()
	object := map[string]any{"key": escapeKey(key), "size": size, "eTag": strings.Trim(etag, `"`), "sequencer": sequencer}
	if version != "" {
		object["versionId"] = version
	}
	return json.Marshal(map[string]any{"Records": []any{map[string]any{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": Region, "eventName": event,
		"eventTime":         time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"userIdentity":      map[string]any{"principalId": "AWS:AIDAEXAMPLE"},
		"requestParameters": map[string]any{"sourceIPAddress": "127.0.0.1"},
		"responseElements":  map[string]any{"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD"},
		"s3": map[string]any{
			"s3SchemaVersion": "1.0", "configurationId": "notification",
			"bucket": map[string]any{"name": bucket, "ownerIdentity": map[string]any{"principalId": "A3NL1KOZZKExample"}, "arn": "arn:aws:s3:::" + bucket},
			"object": object,
		},
	}}})
}

// escapeKey escapes a key as S3 does in its events: as a form does, but for slashes.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html: "red flower.jpg" is "red+flower.jpg"
func escapeKey(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}
