package dynamo

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	internalaws "github.com/flavorless/flavorless/internal/aws"
)

type option = func(*dynamodb.Options)

// reader is the part of the SDK's client that reads.
type reader interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...option) (*dynamodb.GetItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...option) (*dynamodb.BatchGetItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...option) (*dynamodb.QueryOutput, error)
}

// writer is the part of the SDK's client that writes.
type writer interface {
	PutItem(context.Context, *dynamodb.PutItemInput, ...option) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...option) (*dynamodb.UpdateItemOutput, error)
	BatchExecuteStatement(context.Context, *dynamodb.BatchExecuteStatementInput,
		...option) (*dynamodb.BatchExecuteStatementOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput,
		...option) (*dynamodb.TransactWriteItemsOutput, error)
}

type client interface {
	reader
	writer
}

// Client returns a client of DynamoDB.
func Client(a internalaws.Access) *dynamodb.Client {
	return dynamodb.NewFromConfig(a.Config("DYNAMODB"), func(o *dynamodb.Options) { o.RetryMaxAttempts = maxAttempts })
}

// maxAttempts is more than the SDK's 3 because a table throttles for seconds while it scales up.
const maxAttempts = 8

// Config configures a Table. Client, Favorites and Uploads are required.
type Config struct {
	// Client is a *dynamodb.Client. Its retryer retries calls that fail as a whole; it should allow at least six attempts,
	// because throttling is temporary. Table itself retries failures within a call, and throttled calls of Apply.
	Client    client
	Favorites string // name of the table
	Uploads   string // name of the table

	// Comparisons is the name of the table that lists comparing uploads. If it is empty, no upload compares. Functions
	// that apply batches must have it if any function announces comparing uploads.
	Comparisons string

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard

	// Retention is how long tombstones of removed people, markers of applied batches and announcements of comparing
	// uploads are kept. It must be longer than any delivery can be late: otherwise a late older update would restore a
	// person, or replace a row on which a newer upload relied, or a batch would count twice. The default is 60 days,
	// because SNS retries for 23, a queue keeps a message for at most 14, and a redriven dead letter is kept for another
	// 14. The sorted copies of comparing uploads must be kept for at least as long.
	// https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
	Retention time.Duration

	// Concurrency is the maximum number of concurrent calls of one Apply. The default is 16.
	Concurrency int
}

// DefaultRetention is the default of [Config.Retention].
const DefaultRetention = 60 * 24 * time.Hour

const defaultConcurrency = 16

// Table stores favorites and uploads in DynamoDB. Its methods may be called concurrently.
type Table struct {
	cfg        Config
	statements statements
	shards     [shards]types.AttributeValue
}

// New returns a Table. The tables in DynamoDB must exist.
func New(cfg Config) *Table {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Retention <= 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	t := &Table{cfg: cfg, statements: newStatements(cfg.Favorites)}
	for i := range t.shards {
		t.shards[i] = number(int64(i))
	}
	return t
}

// now returns the time, truncated to the milliseconds that the ledger stores.
func (t *Table) now() time.Time { return t.cfg.Clock().UTC().Truncate(time.Millisecond) }

// expiry returns when an item that is written now may be deleted, as a time to live: in seconds since 1970.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
func (t *Table) expiry() types.AttributeValue { return number(t.now().Add(t.cfg.Retention).Unix()) }

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// textOf returns the value of a string attribute, or "".
func textOf(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// expression collects the attribute names and values of one request's expressions. All names are placeholders, because
// many are reserved words. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
type expression struct {
	names  map[string]string
	values item
}

func newExpression() *expression { return &expression{names: map[string]string{}, values: item{}} }

func (e *expression) name(attribute string) string {
	e.names["#"+attribute] = attribute
	return "#" + attribute
}

func (e *expression) value(v types.AttributeValue) string {
	placeholder := ":" + strconv.Itoa(len(e.values))
	e.values[placeholder] = v
	return placeholder
}

// set returns the clause "attribute = value".
func (e *expression) set(attribute string, v types.AttributeValue) string {
	return e.name(attribute) + " = " + e.value(v)
}

// setDefault returns the clause that sets an attribute which has no value.
func (e *expression) setDefault(attribute string, v types.AttributeValue) string {
	name := e.name(attribute)
	return name + " = if_not_exists(" + name + ", " + e.value(v) + ")"
}
