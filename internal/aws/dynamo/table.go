package dynamo

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	ours "github.com/flavorless/flavorless/internal/aws"
)

// reader is what reading needs of the SDK's client.
type reader interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

// writer is what writing needs of it besides.
type writer interface {
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	BatchExecuteStatement(context.Context, *dynamodb.BatchExecuteStatementInput, ...func(*dynamodb.Options)) (*dynamodb.BatchExecuteStatementOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

type client interface {
	reader
	writer
}

// Client is a client of the tables.
func Client(a ours.Access) *dynamodb.Client {
	return dynamodb.NewFromConfig(a.Config("DYNAMODB"), func(o *dynamodb.Options) { o.RetryMaxAttempts = tries })
}

// tries is more than the SDK's 3: a table that is scaling up throttles for seconds, and then serves.
const tries = 8

// Config is what New needs. Client and the names are a must.
type Config struct {
	// Client is a *dynamodb.Client. Its retryer is for calls that fail as a whole; give it six attempts or more, since
	// throttling passes. What fails inside of a call is retried here, and so are throttled calls of Apply.
	Client    client
	Favorites string // the names of the tables
	Uploads   string

	Clock  func() time.Time // time.Now by default
	Logger *slog.Logger     // silent by default

	// Retention is how long removed people and applied batches are remembered: longer than any delivery can be late, or
	// a late older update brings a person back, or a batch counts twice. By default 60 days: SNS tries for 23, a queue
	// keeps for at most 14, and the dead letters that are sent again for another 14.
	// https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
	Retention time.Duration

	// Concurrency is how many calls one Apply has under way at most. 16 by default.
	Concurrency int
}

const (
	defaultRetention   = 60 * 24 * time.Hour
	defaultConcurrency = 16
)

// Table is the adapter. Its methods may be called concurrently.
type Table struct {
	cfg        Config
	statements statements
	shards     [shards]types.AttributeValue
}

// New returns the adapter for tables that exist.
func New(cfg Config) *Table {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Retention <= 0 {
		cfg.Retention = defaultRetention
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

// now gives the time in milliseconds, which is as fine as the ledger has it.
func (t *Table) now() time.Time { return t.cfg.Clock().UTC().Truncate(time.Millisecond) }

// expiry is when what is written now may be forgotten, in seconds since 1970, as the time to live wants it.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
func (t *Table) expiry() types.AttributeValue { return number(t.now().Add(t.cfg.Retention).Unix()) }

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// textOf gives the text of an attribute; "" if there is none.
func textOf(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// expression gathers the names and values of one request's expressions. Every name goes through it: a good part of them is
// reserved. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
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

// set makes "attribute = value".
func (e *expression) set(attribute string, v types.AttributeValue) string {
	return e.name(attribute) + " = " + e.value(v)
}

// start makes "attribute = value, unless it has one".
func (e *expression) start(attribute string, v types.AttributeValue) string {
	name := e.name(attribute)
	return name + " = if_not_exists(" + name + ", " + e.value(v) + ")"
}
