package topics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
)

// fakeSNS counts messages, and fails as SNS does for some bodies.
type fakeSNS struct {
	requests []int // number of messages in each
	fail     error // of every request
}

func (f *fakeSNS) PublishBatch(_ context.Context, in *sns.PublishBatchInput,
	_ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	out := &sns.PublishBatchOutput{}
	size := 0
	var refused error
	for _, e := range in.PublishBatchRequestEntries {
		body := *e.Message
		size += len(body)
		code := "InternalError"
		switch body {
		case "refused":
			refused = &types.InvalidParameterException{}
		case "not listed":
		case "sender":
			code = "InvalidParameter"
			fallthrough
		case "throttled":
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: &code, Message: &code,
				SenderFault: body == "sender"})
		default:
			out.Successful = append(out.Successful, types.PublishBatchResultEntry{Id: e.Id, MessageId: e.Id})
		}
	}
	f.requests = append(f.requests, len(in.PublishBatchRequestEntries))
	switch {
	case f.fail != nil:
		return nil, f.fail
	case len(in.PublishBatchRequestEntries) > 10:
		return nil, &types.TooManyEntriesInBatchRequestException{}
	case size > 256<<10:
		return nil, &types.BatchRequestTooLongException{}
	case refused != nil:
		return nil, refused
	}
	return out, nil
}

func messages(bodies ...string) []events.Message {
	var list []events.Message
	for i, body := range bodies {
		list = append(list, events.Message{ID: fmt.Sprint(i), Attributes: map[string]string{"type": "t"}, Body: []byte(body)})
	}
	return list
}

func TestRequestLimits(t *testing.T) {
	kb60 := strings.Repeat("60 KB.", 10<<10)
	whole := strings.Repeat("x", 256<<10-len("type"+"String"+"t"))
	for _, test := range []struct {
		name   string
		bodies []string
		want   []int // messages in each request
	}{
		{"ten", strings.Split("0123456789", ""), []int{10}},
		{"eleven", strings.Split("0123456789a", ""), []int{10, 1}},
		{"four of 60 KB", []string{kb60, kb60, kb60, kb60, kb60}, []int{4, 1}},
		{"one fills a request", []string{"a", whole, "b"}, []int{1, 1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := &fakeSNS{}
			for i, err := range (topics.Topic{Client: fake}).Publish(t.Context(), messages(test.bodies...)) {
				if err != nil {
					t.Errorf("message %d: %v", i, err)
				}
			}
			if diff := cmp.Diff(test.want, fake.requests); diff != "" {
				t.Errorf("messages in each request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorOfEachMessage(t *testing.T) {
	const stored, again, never = "stored", "retry", "permanent failure"
	for _, test := range []struct {
		name   string
		bodies []string
		fail   error
		want   []string
	}{
		{"SNS is at fault", []string{"a", "throttled", "b"}, nil, []string{stored, again, stored}},
		{"the message is at fault", []string{"a", "sender", "b"}, nil, []string{stored, never, stored}},
		{"message is not listed", []string{"a", "not listed"}, nil, []string{stored, again}},
		{"one message fails the request", []string{"a", "refused", "b"}, nil, []string{stored, never, stored}},
		{"connection closed", []string{"a", "b"}, errors.New("EOF"), []string{again, again}},
		{"throttled as a whole", []string{"a"}, &types.ThrottledException{}, []string{again}},
		{"forbidden", []string{"a"}, &types.AuthorizationErrorException{}, []string{again}},
		{"missing topic", []string{"a"}, &types.NotFoundException{}, []string{again}},
		{"topic in another region", []string{"a"}, &smithy.GenericAPIError{Code: "InvalidParameter",
			Message: "Invalid parameter: TopicArn"}, []string{again}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, err := range (topics.Topic{Client: &fakeSNS{fail: test.fail}}).Publish(t.Context(),
				messages(test.bodies...)) {
				switch {
				case err == nil:
					got = append(got, stored)
				case errors.Is(err, events.ErrPermanent):
					got = append(got, never)
				default:
					got = append(got, again)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

// fakeSQS records requests.
type fakeSQS struct{ sent []*sqs.SendMessageInput }

func (f *fakeSQS) SendMessage(_ context.Context, in *sqs.SendMessageInput,
	_ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	f.sent = append(f.sent, in)
	return &sqs.SendMessageOutput{}, nil
}

func TestDeadLetterSaysWhy(t *testing.T) {
	fake := &fakeSQS{}
	many := map[string]string{}
	for i := range 10 {
		many[fmt.Sprint("a", i)] = "v"
	}
	letters := queues.DeadLetters{Client: fake, URL: "https://queue"}
	for _, letter := range []queues.FailedMessage{
		{Body: []byte("{}"), Attributes: map[string]string{"type": "t"}, Reason: errors.New("bad\x00\n\ufffe\xff" +
			strings.Repeat("é", 1024)), Source: "apply", ID: "1"},
		{Body: []byte("\xff"), Attributes: many, Reason: errors.New("no"), Source: "apply", ID: "2"},
		{Reason: errors.New("nothing"), ID: "3"},
	} {
		if err := letters.Put(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]map[string]string, len(fake.sent))
	for i, in := range fake.sent {
		got[i] = map[string]string{"body": *in.MessageBody}
		for name, v := range in.MessageAttributes {
			got[i][name] = *v.StringValue
		}
	}
	want := []map[string]string{
		{"body": "{}", "type": "t", "dead-reason": "bad    " + strings.Repeat("é", 508), "dead-source": "apply",
			"dead-id": "1"},
		{"body": "\ufffd", "dead-reason": "no", "dead-source": "apply", "dead-id": "2",
			"a0": "v", "a1": "v", "a2": "v", "a3": "v", "a4": "v", "a5": "v", "a6": "v"},
		{"body": "(empty)", "dead-reason": "nothing", "dead-id": "3"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}
