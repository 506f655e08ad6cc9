package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/testutil"
)

func failedStreamRange(stream, shard, start, end string) string {
	return fmt.Sprintf(`{"version":"1.0","timestamp":"2026-11-23T08:25:00.000Z","requestContext":{"requestId":"r",`+
		`"functionArn":"arn:aws:lambda:us-east-1:123456789012:function:announce",`+
		`"condition":"RetryAttemptsExhausted","approximateInvokeCount":101},"responseContext":{"statusCode":200,`+
		`"executedVersion":"$LATEST","functionError":"Unhandled"},`+
		`"DDBStreamBatchInfo":{"shardId":%q,"startSequenceNumber":%q,"endSequenceNumber":%q,`+
		`"approximateArrivalOfFirstRecord":"2026-11-23T08:19:00Z",`+
		`"approximateArrivalOfLastRecord":"2026-11-23T08:19:01Z","batchSize":2,"streamArn":%q}}`, shard, start, end, stream)
}

func TestRedriveAnnounce(t *testing.T) {
	testutil.SkipIfShort(t)
	c := deployStack(t, nil)
	queue, dead := c.subscribed(c.outputs["ChangesTopicArn"]), c.url("announce-dead")
	stream, shard, numbers := c.favorites(4)

	c.send(dead, failedStreamRange(stream, shard, numbers[1], numbers[2]), nil)
	c.send(dead, failedStreamRange(stream, shard, numbers[3], numbers[3]), nil)
	lone := change(t, "zoe", "", "lemon", 99).Message()
	pairs := []string{queues.DeadReason, "why"}
	for name, value := range lone.Attributes {
		pairs = append(pairs, name, value)
	}
	c.send(dead, string(lone.Body), sqsAttributes(pairs...))
	c.redrive(exitOK, "announce-dead").wantStdout(t, "announce-dead: 3 put back\n")
	var announced []string
	for _, m := range c.take(queue, 10) {
		change, err := events.DecodeChange([]byte(*m.Body))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.MessageAttributes) != len(change.Message().Attributes) { // dead-reason is removed
			t.Errorf("attributes = %v, want those of the change", m.MessageAttributes)
		}
		announced = append(announced, fmt.Sprint(change.Kind, " ", change.Person, " ", change.Flavor))
	}
	slices.Sort(announced)
	if diff := cmp.Diff([]string{"created person1 mint1", "created person2 mint2", "created person3 mint3",
		"created zoe lemon"}, announced); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}

	t.Run("messages that stay", func(t *testing.T) {
		c.send(dead, failedStreamRange(stream, shard, numbers[3], numbers[3]+"0"), nil) // its end is not in the stream yet
		c.send(dead, failedStreamRange(stream, shard, numbers[1], numbers[0]), nil)     // its end precedes its start
		c.send(dead, "(empty)", nil)
		got := c.redrive(exitFailed, "announce-dead", "--json")
		var result struct {
			Restored int
			Failures []string
		}
		if err := json.Unmarshal([]byte(got.out), &result); err != nil || result.Restored != 0 || len(result.Failures) != 3 {
			t.Fatalf("redrive --json = %s (%v), want 0 restored and 3 failures", got.out, err)
		}
		if n := c.depth(dead); n != 3 {
			t.Errorf("%d messages are left, want 3", n)
		}
	})
	t.Run("a range that the stream has trimmed", func(t *testing.T) {
		c.bodies(dead)
		c.send(dead, failedStreamRange(stream, shard, numbers[0], numbers[0]), nil)
		c.trimmed = true
		c.redrive(exitFailed, "announce-dead").wantErr(t, exitFailed, "24 hours")
		c.trimmed = false
	})
	t.Run("announce fails", func(t *testing.T) {
		topic := c.outputs["ChangesTopicArn"]
		if _, err := topics.Client(c.access).DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &topic}); err != nil {
			t.Fatal(err)
		}
		c.redrive(exitFailed, "announce-dead").wantErr(t, exitFailed, "person0@")
		if n := c.depth(dead); n != 1 {
			t.Errorf("%d messages are left, want 1", n)
		}
	})
	t.Run("a missing function", func(t *testing.T) {
		c.bodies(dead)
		c.outputs["AnnounceFunctionName"] = "another"
		c.send(dead, failedStreamRange(stream, shard, numbers[0], numbers[0]), nil)
		c.redrive(exitFailed, "announce-dead").wantErr(t, exitFailed, "ResourceNotFoundException")
		if n := c.depth(dead); n != 1 {
			t.Errorf("%d messages are left, want 1", n)
		}
	})
}

// favorites creates a table with a stream and a number of people. It returns the ARN of the stream, the id of its
// shard, and the sequence numbers of its records.
func (c *cloud) favorites(people int) (stream, shard string, numbers []string) {
	c.t.Helper()
	client, name := dynamo.Client(c.access), c.stack+"-favorites"
	attribute := func(name string, typ types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: typ}
	}
	made, err := client.CreateTable(c.t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{attribute("shard", types.ScalarAttributeTypeN),
			attribute("person", types.ScalarAttributeTypeS)},
		KeySchema: []types.KeySchemaElement{{AttributeName: new("shard"), KeyType: types.KeyTypeHash},
			{AttributeName: new("person"), KeyType: types.KeyTypeRange}},
		StreamSpecification: &types.StreamSpecification{StreamEnabled: new(true),
			StreamViewType: types.StreamViewTypeNewAndOldImages},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	stream = *made.TableDescription.LatestStreamArn
	for i := range people {
		text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
		person := fmt.Sprint("person", i)
		version := change(c.t, person, "", "x", int64(i)).Version
		_, err := client.PutItem(c.t.Context(), &dynamodb.PutItemInput{TableName: &name,
			Item: map[string]types.AttributeValue{
				"shard": &types.AttributeValueMemberN{Value: "1"}, "person": text(person), "flavor": text(fmt.Sprint("mint", i)),
				"version": text(string(version)),
			}})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	streams := dynamodbstreams.NewFromConfig(c.access.Config("DYNAMODB"))
	described, err := streams.DescribeStream(c.t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &stream})
	if err != nil {
		c.t.Fatal(err)
	}
	shard = *described.StreamDescription.Shards[0].ShardId
	at, err := streams.GetShardIterator(c.t.Context(),
		&dynamodbstreams.GetShardIteratorInput{StreamArn: &stream, ShardId: &shard, ShardIteratorType: "TRIM_HORIZON"})
	if err != nil {
		c.t.Fatal(err)
	}
	records, err := streams.GetRecords(c.t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: at.ShardIterator})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range records.Records {
		numbers = append(numbers, *r.Dynamodb.SequenceNumber)
	}
	if len(numbers) != people {
		c.t.Fatalf("the stream has %d records, want %d", len(numbers), people)
	}
	return stream, shard, numbers
}
