package cloud

import (
	"net/http/httptest"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestRequiredPermissions(t *testing.T) {
	const sqs, table = "arn:aws:sqs:eu-west-1:123456789012:", "arn:aws:dynamodb:eu-west-1:123456789012:table/"
	const stream = table + "t/stream/2026"
	tests := []struct {
		name, service, request, target, body, copyOf string
		want                                         []string
	}{
		{name: "get", service: "s3", request: "GET /b/a%20b/c", want: []string{"s3:GetObject on arn:aws:s3:::b/a b/c"}},
		{name: "get a version", service: "s3", request: "GET /b/k?versionId=1",
			want: []string{"s3:GetObjectVersion on arn:aws:s3:::b/k"}},
		{name: "put", service: "s3", request: "PUT /b/k?x-id=PutObject", want: []string{"s3:PutObject on arn:aws:s3:::b/k"}},
		{name: "part", service: "s3", request: "PUT /b/k?partNumber=1&uploadId=2",
			want: []string{"s3:PutObject on arn:aws:s3:::b/k"}},
		{name: "complete", service: "s3", request: "POST /b/k?uploadId=2",
			want: []string{"s3:PutObject on arn:aws:s3:::b/k"}},
		{name: "abort", service: "s3", request: "DELETE /b/k?uploadId=2",
			want: []string{"s3:AbortMultipartUpload on arn:aws:s3:::b/k"}},
		{name: "copy", service: "s3", request: "PUT /b/k", copyOf: "/a/o%20p?versionId=3"},
		{name: "list", service: "s3", request: "GET /b?list-type=2", want: []string{"s3:ListBucket on arn:aws:s3:::b"}},
		{name: "acl", service: "s3", request: "PUT /b/k?acl"},
		{name: "publish", service: "sns", request: "POST /", body: "Action=Publish&TopicArn=arn%3At",
			want: []string{"sns:Publish on arn:t"}},
		{name: "publish many", service: "sns", request: "POST /", body: "Action=PublishBatch&TopicArn=arn%3At",
			want: []string{"sns:Publish on arn:t"}},
		{name: "send", service: "sqs", request: "POST /", target: "AmazonSQS.SendMessageBatch",
			body: `{"QueueUrl": "http://h/1/q", "Entries": []}`, want: []string{"sqs:SendMessage on " + sqs + "q"}},
		{name: "get item", service: "dynamodb", request: "POST /", target: "DynamoDB_20120810.GetItem",
			body: `{"TableName": "t"}`, want: []string{"dynamodb:GetItem on " + table + "t"}},
		{name: "query an index", service: "dynamodb", request: "POST /", target: "DynamoDB_20120810.Query",
			body: `{"TableName": "t", "IndexName": "i"}`, want: []string{"dynamodb:Query on " + table + "t/index/i"}},
		{name: "batch get", service: "dynamodb", request: "POST /", target: "DynamoDB_20120810.BatchGetItem",
			body: `{"RequestItems": {"t": {}}}`, want: []string{"dynamodb:BatchGetItem on " + table + "t"}},
		{name: "transaction", service: "dynamodb", request: "POST /", target: "DynamoDB_20120810.TransactWriteItems",
			body: `{"TransactItems": [{"Put": {"TableName": "a"}}, {"Update": {"TableName": "b"}}]}`,
			want: []string{"dynamodb:PutItem on " + table + "a", "dynamodb:UpdateItem on " + table + "b"}},
		{name: "partiql", service: "dynamodb", request: "POST /", target: "DynamoDB_20120810.BatchExecuteStatement",
			body: `{"Statements": [{"Statement": "INSERT INTO \"a-b\" VALUE {'x': ?}"}, {"Statement": "update t set x=?"},
				{"Statement": "SELECT * FROM \"t\".\"i\" WHERE x=?"}]}`,
			want: []string{"dynamodb:PartiQLInsert on " + table + "a-b", "dynamodb:PartiQLUpdate on " + table + "t",
				"dynamodb:PartiQLSelect on " + table + "t/index/i"}},
		{name: "records", service: "dynamodb", request: "POST /", target: "DynamoDBStreams_20120810.GetRecords",
			body: `{"ShardIterator": "000|` + stream + `|AA=="}`, want: []string{"dynamodb:GetRecords on " + stream}},
		{name: "unknown service", service: "ec2", request: "POST /"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method, path, _ := strings.Cut(tt.request, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(tt.body))
			r.Header.Set("X-Amz-Target", tt.target)
			if tt.copyOf != "" {
				r.Header.Set("X-Amz-Copy-Source", tt.copyOf)
			}
			all, err := requiredPermissions(tt.service, r, []byte(tt.body))
			if (err != nil) != (tt.want == nil) {
				t.Fatalf("error %v, want one: %t", err, tt.want == nil)
			}
			var got []string
			for _, n := range all {
				got = append(got, n.String())
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("permissions (-want +got):\n%s", diff)
			}
		})
	}
}
