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

// notificationRule is one event notification of a bucket: which created objects invoke which function.
type notificationRule struct {
	bucket, event, prefix string
	function              *Function
}

func (n notificationRule) matches(bucket, key, event string) bool {
	return n.bucket == bucket && Wildcard(n.event, "s3:"+event) && strings.HasPrefix(key, n.prefix)
}

// Notifications are S3's event notifications about objects that are created through the proxy.
type Notifications struct {
	admin Caller

	mu        sync.Mutex
	rules     []notificationRule
	sequencer int64
	sent      []Notification
	errs      []error
}

// Notification is an event notification that was sent.
type Notification struct {
	Function *Function
	Key      string
	Event    []byte
}

// Sent returns all notifications so far.
func (n *Notifications) Sent() []Notification {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent)
}

// createdBy returns the event that a successful request causes, or "" if it creates no object.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
func createdBy(r *http.Request) string {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	subresource := false // such as an object's tags
	for name := range q {
		subresource = subresource || name != "x-id" && name != "uploadId" && !strings.HasPrefix(name, "X-Amz-")
	}
	switch {
	case key == "" || subresource:
		return ""
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "ObjectCreated:CompleteMultipartUpload"
	case r.Method == http.MethodPut && q.Has("uploadId"):
		return "" // a part
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") == "": // copies are not supported
		return "ObjectCreated:Put"
	}
	return ""
}

// created sends the notifications about an object. The proxy calls it before the client has its answer, so it does not
// wait for functions. They run with ctx, which outlives the request.
func (n *Notifications) created(ctx context.Context, r *http.Request, event string, h http.Header, body []byte) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	for _, rule := range n.rules {
		if !rule.matches(bucket, key, event) {
			continue
		}
		message, err := n.message(r, bucket, key, event, h, body)
		n.mu.Lock()
		if err != nil {
			n.errs = append(n.errs, err)
		} else {
			n.sent = append(n.sent, Notification{Function: rule.function, Key: key, Event: message})
		}
		n.mu.Unlock()
		if err == nil {
			rule.function.InvokeAsync(withLineage(ctx, parseLineage(r.Header.Get("X-Amzn-Trace-Id"))), message)
		}
	}
}

// message returns the event in S3's format.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
func (n *Notifications) message(r *http.Request, bucket, key, event string, h http.Header,
	body []byte) ([]byte, error) {
	etag, version := h.Get("ETag"), h.Get("X-Amz-Version-Id")
	if len(body) > 0 { // a completed multipart upload has its ETag in the body
		var result struct{ ETag string }
		if err := xml.Unmarshal(body, &result); err != nil {
			return nil, fmt.Errorf("the response to %s: %w", event, err)
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
	_, head, err := n.admin.S3(r.Context(), http.MethodHead, path, nil, nil)
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseInt(head.Get("Content-Length"), 10, 64)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.sequencer = max(n.sequencer+1, time.Now().UnixNano())
	sequencer := fmt.Sprintf("00%016X", n.sequencer)
	n.mu.Unlock()
	object := map[string]any{"key": escapeKey(key), "size": size, "eTag": strings.Trim(etag, `"`), "sequencer": sequencer}
	if version != "" {
		object["versionId"] = version
	}
	return json.Marshal(map[string]any{"Records": []any{map[string]any{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": Region, "eventName": event,
		"eventTime": time.Now().UTC().Format(timestamp),
		"s3": map[string]any{
			"s3SchemaVersion": "1.0", "configurationId": "notification", "object": object,
			"bucket": map[string]any{"name": bucket, "arn": "arn:aws:s3:::" + bucket},
		},
	}}})
}

// timestamp is the format of times in events.
const timestamp = "2006-01-02T15:04:05.000Z"

// escapeKey escapes a key as a form does, except for slashes.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html says that "red flower.jpg"
// becomes "red+flower.jpg".
func escapeKey(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}
