package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Need is one permission: an action on a resource.
type Need struct {
	Action, Resource string
}

func (n Need) String() string { return n.Action + " on " + n.Resource }

// credential finds who calls, and which service, in a request signed with Signature Version 4.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
var credential = regexp.MustCompile(`Credential=([^/]+)/\d+/[^/]+/([^/]+)/aws4_request`)

// needs says what a request needs to be allowed. Most operations need the action of their name, but batches and
// transactions often need those of their parts. https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
func needs(service string, r *http.Request, body []byte) ([]Need, error) {
	switch service {
	case "s3":
		return needsS3(r)
	case "sns":
		return needsSNS(body)
	case "sqs":
		return needsSQS(r, body)
	case "dynamodb":
		return needsTable(r.Header.Get("X-Amz-Target"), body)
	}
	return nil, fmt.Errorf("the service %q is not known here", service)
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
func needsS3(r *http.Request) ([]Need, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q, on := r.URL.Query(), "arn:aws:s3:::"+bucket
	action := ""
	for name := range q {
		switch name {
		case "acl", "tagging", "policy", "notification", "lifecycle", "versioning", "cors", "retention", "legal-hold", "restore", "select", "attributes":
			return nil, fmt.Errorf("%s ?%s is not known here", r.Method, name)
		}
	}
	if key == "" {
		switch {
		case r.Method == http.MethodGet && q.Has("versions"):
			action = "s3:ListBucketVersions"
		case r.Method == http.MethodGet && q.Has("uploads"):
			action = "s3:ListBucketMultipartUploads"
		case r.Method == http.MethodGet, r.Method == http.MethodHead:
			action = "s3:ListBucket"
		default:
			return nil, fmt.Errorf("%s of a bucket is not known here", r.Method)
		}
		return []Need{{action, on}}, nil
	}
	on += "/" + key
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		action = "s3:GetObject"
		if q.Has("versionId") {
			action = "s3:GetObjectVersion"
		}
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		action = "s3:AbortMultipartUpload"
	case r.Method == http.MethodDelete:
		action = "s3:DeleteObject"
		if q.Has("versionId") {
			action = "s3:DeleteObjectVersion"
		}
	case r.Method == http.MethodPut, r.Method == http.MethodPost && (q.Has("uploads") || q.Has("uploadId")):
		action = "s3:PutObject"
	default:
		return nil, fmt.Errorf("%s of an object is not known here", r.Method)
	}
	all := []Need{{action, on}}
	if source := r.Header.Get("X-Amz-Copy-Source"); source != "" {
		path, err := url.PathUnescape(strings.TrimPrefix(source, "/"))
		if err != nil {
			return nil, err
		}
		path, _, _ = strings.Cut(path, "?versionId=")
		all = append(all, Need{"s3:GetObject", "arn:aws:s3:::" + path})
	}
	if r.Header.Get("X-Amz-Tagging") != "" {
		all = append(all, Need{"s3:PutObjectTagging", on})
	}
	return all, nil
}

func needsSNS(body []byte) ([]Need, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	action := strings.TrimSuffix(form.Get("Action"), "Batch")
	return []Need{{"sns:" + action, form.Get("TopicArn")}}, nil
}

func needsSQS(r *http.Request, body []byte) ([]Need, error) {
	operation, is := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetQueue)
	var in struct{ QueueUrl, QueueName string } //nolint:revive // the API's names
	if err := json.Unmarshal(body, &in); !is || err != nil {
		return nil, errors.Join(fmt.Errorf("a call of SQS that is none of the JSON protocol"), err)
	}
	name := in.QueueName
	if name == "" {
		name = in.QueueUrl[strings.LastIndexByte(in.QueueUrl, '/')+1:]
	}
	return []Need{{"sqs:" + strings.TrimSuffix(operation, "Batch"), arnOf("sqs", name)}}, nil
}

func arnOf(service, name string) string {
	return strings.Join([]string{"arn", Partition, service, Region, Account, name}, ":")
}

// A statement of PartiQL begins with what it does and then names the table, or table.index.
var partiql = regexp.MustCompile(`(?is)^\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM|SELECT\b.*?\bFROM)\s+"?([A-Za-z0-9_.-]+)"?(?:\."([A-Za-z0-9_.-]+)")?`)

// tableCall has the members that name tables and streams, of all operations.
type tableCall struct {
	TableName, IndexName, StreamArn, ShardIterator, Statement string
	RequestItems                                              map[string]any
	Statements, TransactStatements                            []struct{ Statement string }
	TransactItems                                             []map[string]struct{ TableName string }
}

// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/api-permissions-reference.html
func needsTable(target string, body []byte) ([]Need, error) {
	var in tableCall
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	table := func(name string) string { return arnOf("dynamodb", "table/"+name) }
	if operation, is := strings.CutPrefix(target, targetStream); is {
		on := in.StreamArn
		if on == "" { // an iterator begins with the stream's ARN, in DynamoDB Local after a number
			for part := range strings.SplitSeq(in.ShardIterator, "|") {
				if strings.HasPrefix(part, "arn:") {
					on = part
				}
			}
		}
		if operation == "ListStreams" {
			on = "*"
		}
		return []Need{{"dynamodb:" + operation, on}}, nil
	}
	operation, is := strings.CutPrefix(target, targetTable)
	if !is {
		return nil, fmt.Errorf("%q is not known here", target)
	}
	var all []Need
	for name := range in.RequestItems {
		all = append(all, Need{"dynamodb:" + operation, table(name)})
	}
	for _, item := range in.TransactItems {
		for kind, part := range item {
			action := map[string]string{"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "Get": "GetItem", "ConditionCheck": "ConditionCheckItem"}[kind]
			all = append(all, Need{"dynamodb:" + action, table(part.TableName)})
		}
	}
	statements := append(in.Statements, in.TransactStatements...) //nolint:gocritic // both are ours alone
	if in.Statement != "" {
		statements = append(statements, struct{ Statement string }{in.Statement})
	}
	for _, s := range statements {
		m := partiql.FindStringSubmatch(s.Statement)
		if m == nil {
			return nil, fmt.Errorf("the statement %q is not understood here", s.Statement)
		}
		verb := strings.ToLower(strings.Fields(m[1])[0])
		on := table(m[2])
		if m[3] != "" {
			on += "/index/" + m[3]
		}
		all = append(all, Need{"dynamodb:PartiQL" + strings.ToUpper(verb[:1]) + verb[1:], on})
	}
	if len(all) == 0 {
		on := table(in.TableName)
		if in.IndexName != "" {
			on += "/index/" + in.IndexName
		}
		all = append(all, Need{"dynamodb:" + operation, on})
	}
	return all, nil
}
