package dynamo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/flavorless/flavorless/events"
)

// How long a retry waits: a random part of a time that doubles with each attempt, from firstWait to longWait. A partition
// that is beyond its capacity serves again within a second, so longer waits would leave it idle.
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (full jitter)
const (
	firstWait = 25 * time.Millisecond
	longWait  = time.Second

	maxDoublings = 10 // more than lead to longWait
)

// What is left of the time until the context's deadline when retries end.
const (
	rowsReserve   = 2 * time.Second        // for rows: their batches are still to be recorded
	recordReserve = 250 * time.Millisecond // for a record: the last call
)

// maxRetryTime is how long retries go on where the context has no deadline.
const maxRetryTime = 30 * time.Second

// backoff waits between the attempts at one thing.
type backoff struct {
	log     *slog.Logger
	attempt int
	end     time.Time // of the attempts
}

// backoff returns the waits for attempts that end some time before the context's deadline.
func (t *Table) backoff(ctx context.Context, reserve time.Duration) *backoff {
	end := time.Now().Add(maxRetryTime)
	if deadline, ok := ctx.Deadline(); ok {
		end = deadline.Add(-reserve)
	}
	return &backoff{log: t.cfg.Logger, end: end}
}

// wait waits until the next attempt, of which the last is made when the time ends. After that it returns an error that is
// events.ErrUnavailable, since the same call succeeds later.
func (b *backoff) wait(ctx context.Context, left int, why error) error {
	b.attempt++
	remaining := time.Until(b.end)
	if remaining <= 0 {
		return fmt.Errorf("no time is left after %d attempts: %w: %w", b.attempt, events.ErrUnavailable, why)
	}
	longest := min(firstWait<<min(b.attempt-1, maxDoublings), longWait)
	b.log.DebugContext(ctx, "waiting to try again", "left", left, "attempt", b.attempt, "error", why)
	timer := time.NewTimer(min(rand.N(longest)+1, remaining))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w, while trying again after: %w", ctx.Err(), why)
	case <-timer.C:
		return nil
	}
}

// throttled reports whether a call failed as a whole because the service limits its rate.
func throttled(err error) bool {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return false
	}
	_, ok := retry.DefaultThrottleErrorCodes[answer.ErrorCode()]
	return ok
}

// marked returns the error of a call, marked as events.ErrUnavailable if the call was throttled, since it succeeds later.
func marked(err error) error {
	if throttled(err) {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	return err
}

// throttledOnce leaves throttled calls to the caller's backoff. The SDK would wait up to 20 seconds between two attempts,
// and stop after a hundred of all calls of the client.
func throttledOnce(o *dynamodb.Options) { o.Retryer = exceptThrottled{o.Retryer} }

// exceptThrottled is a retryer that does not retry throttled calls.
type exceptThrottled struct{ aws.Retryer }

// IsErrorRetryable implements [aws.Retryer].
func (r exceptThrottled) IsErrorRetryable(err error) bool {
	return !throttled(err) && r.Retryer.IsErrorRetryable(err)
}

// fault says what a code inside of an answer calls for.
type fault int

const (
	fatal fault = iota // trying again at once is of no use
	lost               // a condition did not hold: somebody else was faster
	busy               // try again
)

// faultOf knows the codes of statements (BatchStatementError) and of the parts of a cancelled transaction. An
// InternalServerError may come after the write: trying again then meets one's own version.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
func faultOf(code types.BatchStatementErrorCodeEnum) fault {
	switch code {
	case types.BatchStatementErrorCodeEnumConditionalCheckFailed, types.BatchStatementErrorCodeEnumDuplicateItem:
		return lost
	case types.BatchStatementErrorCodeEnumThrottlingError,
		types.BatchStatementErrorCodeEnumProvisionedThroughputExceeded,
		types.BatchStatementErrorCodeEnumRequestLimitExceeded,
		types.BatchStatementErrorCodeEnumInternalServerError,
		types.BatchStatementErrorCodeEnumTransactionConflict:
		return busy
	}
	return fatal
}
