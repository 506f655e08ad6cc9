package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Permission is permission for an action on a resource.
type Permission struct {
	Action, Resource string
}

func (n Permission) String() string { return n.Action + " on " + n.Resource }

// credential matches the access key and the service in a request that is signed with Signature Version 4.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
var credential = regexp.MustCompile(`Credential=([^/]+)/\d+/[^/]+/([^/]+)/aws4_request`)

// requiredPermissions returns the permissions that a request requires. Most operations require the action of their
// name, but batches and transactions often require those of their parts.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
func requiredPermissions(service string, r *http.Request, body []byte) ([]Permission, error) {
	switch service {
	case "s3":
		return permissionsS3(r)
	case "sns":
		return permissionsSNS(body)
	case "sqs":
		return permissionsSQS(r, body)
	case "dynamodb":
		return permissionsDynamoDB(r.Header.Get("X-Amz-Target"), body)
	}
	return nil, fmt.Errorf("the service %q is not supported", service)
}

// s3Parameters are the query parameters of the supported requests. Others, such as acl, select another operation.
var s3Parameters = []string{
	"x-id", "versionId", "uploads", "uploadId", "partNumber", "list-type", "prefix", "continuation-token", "max-keys",
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
func permissionsS3(r *http.Request) ([]Permission, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q, resource := r.URL.Query(), "arn:aws:s3:::"+bucket
	supported := r.Header.Get("X-Amz-Copy-Source") == "" && r.Header.Get("X-Amz-Tagging") == ""
	for name := range q {
		supported = supported && slices.Contains(s3Parameters, name)
	}
	action := ""
	switch method := r.Method; {
	case !supported:
	case key == "" && method == http.MethodGet && q.Has("list-type"):
		return []Permission{{"s3:ListBucket", resource}}, nil
	case key == "":
	case method == http.MethodGet || method == http.MethodHead:
		action = "s3:GetObject"
	case method == http.MethodDelete && q.Has("uploadId"):
		action = "s3:AbortMultipartUpload"
	case method == http.MethodDelete:
		action = "s3:DeleteObject"
	case method == http.MethodPut, method == http.MethodPost && (q.Has("uploads") || q.Has("uploadId")):
		action = "s3:PutObject"
	}
	if action == "" {
		return nil, fmt.Errorf("the S3 request %s %s is not supported", r.Method, r.URL)
	}
	if q.Has("versionId") {
		action += "Version"
	}
	return []Permission{{action, resource + "/" + key}}, nil
}

func permissionsSNS(body []byte) ([]Permission, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	action := strings.TrimSuffix(form.Get("Action"), "Batch")
	return []Permission{{"sns:" + action, form.Get("TopicArn")}}, nil
}

func permissionsSQS(r *http.Request, body []byte) ([]Permission, error) {
	operation, is := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetQueue)
	var in struct{ QueueURL, QueueName string }
	if err := json.Unmarshal(body, &in); !is || err != nil {
		return nil, errors.Join(errors.New("the SQS request does not use the JSON protocol"), err)
	}
	name := in.QueueName
	if name == "" {
		name = in.QueueURL[strings.LastIndexByte(in.QueueURL, '/')+1:]
	}
	return []Permission{{"sqs:" + strings.TrimSuffix(operation, "Batch"), arnOf("sqs", name)}}, nil
}

func arnOf(service, name string) string {
	return strings.Join([]string{"arn", Partition, service, Region, Account, name}, ":")
}

// partiql matches the verb and the table, or table.index, of a statement.
var partiql = regexp.MustCompile(`(?is)^\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM|SELECT\b.*?\bFROM)\s+` +
	`"?([A-Za-z0-9_.-]+)"?(?:\."([A-Za-z0-9_.-]+)")?`)

// tableCall has the members of all operations that name tables and streams.
type tableCall struct {
	TableName, IndexName, StreamARN, ShardIterator string
	RequestItems                                   map[string]any
	Statements                                     []struct{ Statement string }
	TransactItems                                  []map[string]struct{ TableName string }
}

// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/api-permissions-reference.html
func permissionsDynamoDB(target string, body []byte) ([]Permission, error) {
	var in tableCall
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	table := func(name string) string { return arnOf("dynamodb", "table/"+name) }
	if operation, is := strings.CutPrefix(target, targetStream); is {
		on := in.StreamARN
		if on == "" { // an iterator contains the stream's ARN
			for part := range strings.SplitSeq(in.ShardIterator, "|") {
				if strings.HasPrefix(part, "arn:") {
					on = part
				}
			}
		}
		if operation == "ListStreams" {
			on = "*"
		}
		return []Permission{{"dynamodb:" + operation, on}}, nil
	}
	operation, is := strings.CutPrefix(target, targetTable)
	if !is {
		return nil, fmt.Errorf("the operation %q is not supported", target)
	}
	var all []Permission
	for name := range in.RequestItems {
		all = append(all, Permission{"dynamodb:" + operation, table(name)})
	}
	for _, item := range in.TransactItems {
		for kind, part := range item {
			all = append(all, Permission{"dynamodb:" + kind + "Item", table(part.TableName)}) // such as PutItem
		}
	}
	for _, s := range in.Statements {
		m := partiql.FindStringSubmatch(s.Statement)
		if m == nil {
			return nil, fmt.Errorf("the statement %q is not supported", s.Statement)
		}
		verb := strings.ToLower(strings.Fields(m[1])[0])
		on := table(m[2])
		if m[3] != "" {
			on += "/index/" + m[3]
		}
		all = append(all, Permission{"dynamodb:PartiQL" + strings.ToUpper(verb[:1]) + verb[1:], on})
	}
	if len(all) == 0 {
		on := table(in.TableName)
		if in.IndexName != "" {
			on += "/index/" + in.IndexName
		}
		all = append(all, Permission{"dynamodb:" + operation, on})
	}
	return all, nil
}
