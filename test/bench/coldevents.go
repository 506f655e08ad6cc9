package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
)

// world is the environment of the functions: a team of one person, an issuer, and the fake services.
type world struct {
	services *fake
	issuer   *httptest.Server
	name     string // of the issuer
	token    string
	upload   string // id
}

const bucket, audience = "uploads-bucket", "flavorless"

// objectOf returns the upload of a round, which is a new one each time because a repeated upload is skipped.
func objectOf(round int) events.Object {
	return events.Object{
		Bucket: bucket, Key: "uploads/team.csv", ETag: "e", Sequencer: fmt.Sprintf("%016X", round), Size: 32,
		Time: time.UnixMilli(1_800_000_000_000 + int64(round)),
	}
}

func newWorld(ctx context.Context, services *fake, dir string) (*world, error) {
	keys, err := issuer.Open(issuer.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	token, err := keys.Sign(issuer.Grant{Subject: "bench", Audience: audience, TTL: time.Hour})
	if err != nil {
		return nil, err
	}
	if err := services.put(bucket, "uploads/team.csv", []byte("person,flavor\nandy,cookie dough\n")); err != nil {
		return nil, err
	}
	first := objectOf(1 << 20)
	table := newTable(services.url)
	if _, err := table.Begin(ctx, first, false); err != nil {
		return nil, err
	}
	origin, err := first.Origin()
	if err != nil {
		return nil, err
	}
	rows := []events.Update{{Person: "andy", Flavor: "mint"}}
	if _, err := table.Apply(ctx, []events.Batch{{Origin: origin, Rows: rows}}, nil); err != nil {
		return nil, err
	}
	return &world{
		services: services, issuer: httptest.NewServer(keys), name: keys.Name(), token: token, upload: origin.UploadID(),
	}, nil
}

func (w *world) env(string) []string {
	return []string{
		"STAGE=bench", "LOG_LEVEL=info", "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench",
		"AWS_ENDPOINT_URL=" + w.services.url, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256", "_LAMBDA_SERVER_PORT=",
		"UPDATES_TOPIC_ARN=" + topicARN, "CHANGES_TOPIC_ARN=" + topicARN, "FAVORITES_TABLE=favorites",
		"UPLOADS_TABLE=uploads", "COMPARISONS_TABLE=comparisons", "SORT_FROM=1048576",
		"REPORTS_BUCKET=reports", "DEAD_LETTER_QUEUE_URL=" + w.services.url + "/dead", "BASE_PATH=/bench", "ALLOWED_ORIGIN=*",
		"TOKEN_ISSUER=" + w.name, "AUDIENCE=" + audience, "JWKS_URI=" + w.issuer.URL + issuer.JWKSPath, "REQUIRED_SCOPE=",
	}
}

type object = map[string]any

// event returns the event with which a function is measured.
func (w *world) event(function string, round int) ([]byte, error) {
	o := objectOf(round)
	origin, err := o.Origin()
	if err != nil {
		return nil, err
	}
	switch function {
	case "bare":
		return []byte("{}"), nil
	case "ingest":
		return json.Marshal(object{"Records": []object{{
			"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
			"eventTime": events.FormatTime(o.Time),
			"s3": object{"bucket": object{"name": o.Bucket}, "object": object{"key": o.Key, "size": o.Size, "eTag": o.ETag,
				"sequencer": o.Sequencer}},
		}}})
	case "apply":
		batch := events.NewBatchWriter(origin)
		batch.Add(events.Update{Person: "andy", Flavor: "cookie dough"})
		return json.Marshal(object{"Records": []object{{
			"messageId": "1", "eventSource": "aws:sqs", "body": string(bytes.Clone(batch.Message().Body)),
		}}})
	case "announce":
		image := func(flavor string) object {
			return object{"shard": object{"N": "1"}, "person": object{"S": "andy"}, "flavor": object{"S": flavor},
				"version": object{"S": string(origin.At(0))}}
		}
		return json.Marshal(object{"Records": []object{{
			"eventID": "1", "eventName": "MODIFY", "eventSource": "aws:dynamodb",
			"dynamodb": object{"SequenceNumber": "1", "OldImage": image("mint"), "NewImage": image("vanilla")},
		}}})
	case "authorizer":
		return json.Marshal(object{
			"type": "TOKEN", "methodArn": "arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5/bench/GET/team",
			"authorizationToken": "Bearer " + w.token,
		})
	}
	route := map[string]string{"team": "/team", "lookup": "/ice-cream/andy", "uploads": "/uploads/" + w.upload}[function]
	return json.Marshal(object{
		"resource": route, "path": route, "httpMethod": http.MethodGet,
		"headers": object{"Accept": "*/*"}, "multiValueHeaders": object{"Accept": []string{"*/*"}},
		"pathParameters": object{"person": path.Base(route), "id": path.Base(route)},
		"requestContext": object{
			"path": "/bench" + route, "httpMethod": http.MethodGet, "stage": "bench",
			"requestId":  "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
			"authorizer": object{"principalId": "bench", "sub": "bench", "exp": fmt.Sprint(time.Now().Add(time.Hour).Unix())},
		},
	})
}

// idleEvent returns an event that the function answers without calling a service, so that only its start is measured.
// Each of them occurs in production, except that of apply.
func (w *world) idleEvent(function string) ([]byte, error) {
	switch function {
	case "bare":
		return []byte("{}"), nil
	case "ingest": // when notifications are set up
		return json.Marshal(object{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket})
	case "apply":
		return json.Marshal(object{"Records": []object{}})
	case "announce": // a newer row with the same flavor
		origin, err := objectOf(0).Origin()
		if err != nil {
			return nil, err
		}
		image := object{"person": object{"S": "andy"}, "flavor": object{"S": "mint"},
			"version": object{"S": string(origin.At(0))}}
		return json.Marshal(object{"Records": []object{{
			"eventID": "1", "eventName": "MODIFY", "eventSource": "aws:dynamodb",
			"dynamodb": object{"SequenceNumber": "1", "OldImage": image, "NewImage": image},
		}}})
	case "authorizer": // no JWT
		return json.Marshal(object{
			"type": "TOKEN", "methodArn": "arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5/bench/GET/team",
			"authorizationToken": "Bearer x",
		})
	}
	route := map[string]string{"team": "/team", "lookup": "/ice-cream/andy", "uploads": "/uploads"}[function]
	return json.Marshal(object{ // a browser asks whether it may ask
		"resource": route, "path": route, "httpMethod": http.MethodOptions,
		"multiValueHeaders": object{"Origin": []string{"https://flavors.example"},
			"Access-Control-Request-Method": []string{"GET"}},
		"requestContext": object{"path": "/bench" + route, "httpMethod": http.MethodOptions, "stage": "bench"},
	})
}

// wellAnswered returns an error if a response is an error, which a function returns faster than a result.
func wellAnswered(where string, body []byte) error {
	if path.Base(where) == "error" && bytes.Contains(body, []byte(`"Unauthorized"`)) {
		return nil // the gateway requires this error
	}
	if path.Base(where) != "response" {
		return fmt.Errorf("the response is an error: %s", body)
	}
	var answer struct {
		Status   int   `json:"statusCode"`
		Failures []any `json:"batchItemFailures"`
	}
	if len(body) > 0 && body[0] == '{' {
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
	}
	if answer.Status >= http.StatusMultipleChoices || len(answer.Failures) > 0 {
		return fmt.Errorf("the response is %s", body)
	}
	return nil
}
