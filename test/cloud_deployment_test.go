package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	awsadapters "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/test/dynamolocal"
	"github.com/flavorless/flavorless/test/faultproxy"
	"github.com/flavorless/flavorless/test/moto"
)

// deployment is the write side as it is deployed on AWS. Its functions reach the emulators through proxies that
// inject faults.
type deployment struct {
	prefix  string             // of the names of all its resources
	direct  awsadapters.Access // to the emulators, without faults
	objects map[string]upload  // by upload id
	bucket  string
	reports string

	applyQueue, resumeQueue, changesQueue, deadQueue string // URLs

	table  *dynamo.Table
	stream *dynamolocal.Stream

	ingest   stages.Ingest
	apply    stages.Apply
	announce stages.Announce
	proxies  []*faultproxy.Proxy
}

// deployments counts the deployments, whose resources must have different names.
var deployments atomic.Int64

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	dynamoURL, motoURL := dynamoEmulator.Endpoint(t), motoEmulator.URL(t)
	access := func(dynamoURL, motoURL string) awsadapters.Access {
		access := moto.Access(motoURL)
		access.Endpoint = func(service string) string {
			if service == "DYNAMODB" {
				return dynamoURL
			}
			return motoURL
		}
		return access
	}
	prefix := fmt.Sprintf("run%d-", deployments.Add(1))
	d := &deployment{
		prefix: prefix, direct: access(dynamoURL, motoURL), objects: map[string]upload{},
		bucket: prefix + "uploads", reports: prefix + "reports",
	}
	faulty := access(d.proxy(t, dynamoURL, dynamoFaults...), d.proxy(t, motoURL, motoFaults...))

	tables := dynamolocal.Create(t, dynamo.Client(d.direct), prefix+"convergence")
	newTable := func(access awsadapters.Access) *dynamo.Table {
		return dynamo.New(dynamo.Config{
			Client: dynamo.Client(access), Favorites: tables.Favorites, Uploads: tables.Uploads, Comparisons: tables.Comparisons,
		})
	}
	d.table = newTable(d.direct)
	d.stream = dynamolocal.NewStream(dynamoURL, tables.Favorites)
	updates, changes := d.createTopics(t)
	d.createBuckets(t)

	log := slog.New(slog.DiscardHandler)
	common := stages.Common{
		DeadLetters: queues.DeadLetters{Client: queues.Client(faulty), URL: d.deadQueue},
		Metrics:     metrics.NewEMF(io.Discard, "test", "test", time.Now), Log: log,
	}
	table := newTable(faulty)
	updatesTopic := topics.Topic{Client: topics.Client(faulty), ARN: updates}
	reports := s3store.Reports{Client: s3store.NewClient(faulty), Bucket: d.reports}
	d.ingest = stages.Ingest{Common: common, Ingester: ingest.New(ingest.Config{
		Objects: s3store.Objects{Client: s3store.NewClient(faulty)},
		Updates: updatesTopic, Continuations: updatesTopic,
		Ledger: table, Reports: reports,
		Sorting: ingest.Sorting{
			From: sortFrom, Dir: t.TempDir(), MaxDisk: func() int64 { return 1 << 20 }, Group: dynamo.ShardOf,
		},
		Clock: time.Now, Log: log, BatchBytes: 460,
		Pause: func(context.Context) bool { return rand.IntN(8) == 0 },
	})}
	d.apply = stages.Apply{Common: common, Applier: &ingest.Applier{
		Table: table, Copies: reports, Group: dynamo.ShardOf, Log: log,
	}}
	d.announce = stages.Announce{Common: common, Announcer: &ingest.Announcer{
		Changes: topics.Topic{Client: topics.Client(faulty), ARN: changes}, Log: log,
	}}
	return d
}

// sortFrom is the size from which on files are sorted: about half of them.
const sortFrom = 150

var dynamoFaults = []faultproxy.Rule{
	{Chance: 0.03, Fault: faultproxy.Throttle()},
	{Chance: 0.03, Fault: faultproxy.InternalError()},
	{Chance: 0.03, Fault: faultproxy.ResetBefore()},
	{Chance: 0.05, Fault: faultproxy.ResetAfter()},
	{Chance: 0.1, Fault: faultproxy.Slow(5 * time.Millisecond)},
	{Operation: "BatchGetItem", Chance: 0.1, Fault: faultproxy.Partial("")},
	{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.Partial("ThrottlingError")},
	{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.PartialAfter("InternalServerError")},
	{Operation: "TransactWriteItems", Chance: 0.05, Fault: faultproxy.Partial("TransactionConflict")},
}

var motoFaults = []faultproxy.Rule{
	{Chance: 0.04, Fault: faultproxy.InternalError()},
	{Chance: 0.04, Fault: faultproxy.ResetBefore()},
	{Chance: 0.04, Fault: faultproxy.ResetAfter()},
	{Operation: "PublishBatch", Chance: 0.2, Fault: faultproxy.Partial("InternalError")},
}

// proxy starts a proxy in front of a server, and returns the proxy's URL.
func (d *deployment) proxy(t *testing.T, target string, rules ...faultproxy.Rule) string {
	proxy := faultproxy.New(target, 1, rules...)
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	d.proxies = append(d.proxies, proxy)
	return server.URL
}

// createTopics creates the topics and their queues, and returns the ARNs of the topics.
func (d *deployment) createTopics(t *testing.T) (updates, changes string) {
	t.Helper()
	queues, topics := queues.Client(d.direct), topics.Client(d.direct)
	queue := func(name string) (url, arn string) {
		name = d.prefix + name
		created, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		if err != nil {
			t.Fatal(err)
		}
		got, err := queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: created.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
		})
		if err != nil {
			t.Fatal(err)
		}
		return *created.QueueUrl, got.Attributes["QueueArn"]
	}
	topic := func(name string) string {
		name = d.prefix + name
		created, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		return *created.TopicArn
	}
	subscribe := func(topic, queue, filter string) {
		attributes := map[string]string{"RawMessageDelivery": "true"}
		if filter != "" {
			attributes["FilterPolicy"] = filter
		}
		if _, err := topics.Subscribe(t.Context(), &sns.SubscribeInput{
			TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &queue, Attributes: attributes,
		}); err != nil {
			t.Fatal(err)
		}
	}
	updates, changes = topic("updates"), topic("changes")
	var apply, resume, received string
	d.applyQueue, apply = queue("apply")
	d.resumeQueue, resume = queue("resume")
	d.changesQueue, received = queue("changes")
	d.deadQueue, _ = queue("dead")
	subscribe(updates, apply, `{"type":["`+events.UpdatesType+`"]}`)
	subscribe(updates, resume, `{"type":["`+events.ContinuationType+`"]}`)
	subscribe(changes, received, "")
	return updates, changes
}

func (d *deployment) createBuckets(t *testing.T) {
	t.Helper()
	client := s3store.NewClient(d.direct)
	for _, name := range []string{d.bucket, d.reports} {
		if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
	}
	versioning := &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}
	in := &s3.PutBucketVersioningInput{Bucket: &d.bucket, VersioningConfiguration: versioning}
	if _, err := client.PutBucketVersioning(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}
