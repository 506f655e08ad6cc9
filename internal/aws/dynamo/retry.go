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

// A retry waits for a random part of a duration that doubles with each attempt, from firstWait to maxWait. A throttled
// partition has capacity again within a second, so longer waits would leave it idle.
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (full jitter)
const (
	firstWait = 25 * time.Millisecond
	maxWait   = time.Second

	maxDoublings = 10 // enough to reach maxWait
)

// How long before the context's deadline retries end.
const (
	rowsReserve   = 2 * time.Second        // for rows, whose batches must still be recorded
	recordReserve = 250 * time.Millisecond // for a record, which is the last call
)

// maxRetryTime is how long retries continue if the context has no deadline.
const maxRetryTime = 30 * time.Second

// backoff waits between the attempts of one operation.
type backoff struct {
	log     *slog.Logger
	attempt int
	end     time.Time
}

// backoff returns a backoff whose attempts end before the context's deadline, by the reserve.
func (t *Table) backoff(ctx context.Context, reserve time.Duration) *backoff {
	end := time.Now().Add(maxRetryTime)
	if deadline, ok := ctx.Deadline(); ok {
		end = deadline.Add(-reserve)
	}
	return &backoff{log: t.cfg.Logger, end: end}
}

// wait waits until the next attempt. The last attempt is at the end of the time. After that wait returns an
// [events.ErrUnavailable], because the same call will succeed later.
func (b *backoff) wait(ctx context.Context, left int, why error) error {
	b.attempt++
	remaining := time.Until(b.end)
	if remaining <= 0 {
		return fmt.Errorf("giving up after %d attempts: %w: %w", b.attempt, events.ErrUnavailable, why)
	}
	longest := min(firstWait<<min(b.attempt-1, maxDoublings), maxWait)
	b.log.DebugContext(ctx, "waiting before retry", "left", left, "attempt", b.attempt, "error", why)
	timer := time.NewTimer(min(rand.N(longest)+1, remaining))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w while waiting to retry after: %w", ctx.Err(), why)
	case <-timer.C:
		return nil
	}
}

// throttled reports whether a call failed as a whole because of throttling.
func throttled(err error) bool {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return false
	}
	_, ok := retry.DefaultThrottleErrorCodes[answer.ErrorCode()]
	return ok
}

// markUnavailable adds [events.ErrUnavailable] to the error of a throttled call, because the call will succeed later.
func markUnavailable(err error) error {
	if throttled(err) {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	return err
}

// dontRetryThrottling leaves throttled calls to the caller's backoff. The SDK would wait up to 20 seconds between
// attempts, and would stop after a hundred retries of all calls of the client.
func dontRetryThrottling(o *dynamodb.Options) { o.Retryer = throttlingExcluded{o.Retryer} }

// throttlingExcluded is a retryer that does not retry throttled calls.
type throttlingExcluded struct{ aws.Retryer }

// IsErrorRetryable implements [aws.Retryer].
func (r throttlingExcluded) IsErrorRetryable(err error) bool {
	return !throttled(err) && r.Retryer.IsErrorRetryable(err)
}

// fault classifies an error code within a response.
type fault int

const (
	fatal           fault = iota // an immediate retry would fail as well
	conditionFailed              // another writer was faster
	retryable
)

// faultOf returns the fault for the error code of a statement (BatchStatementError) or of an item of a canceled
// transaction. An InternalServerError may occur after the write; the retry then finds the version that it wrote.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
func faultOf(code types.BatchStatementErrorCodeEnum) fault {
	switch code {
	case types.BatchStatementErrorCodeEnumConditionalCheckFailed, types.BatchStatementErrorCodeEnumDuplicateItem:
		return conditionFailed
	case types.BatchStatementErrorCodeEnumThrottlingError,
		types.BatchStatementErrorCodeEnumProvisionedThroughputExceeded,
		types.BatchStatementErrorCodeEnumRequestLimitExceeded,
		types.BatchStatementErrorCodeEnumInternalServerError,
		types.BatchStatementErrorCodeEnumTransactionConflict:
		return retryable
	}
	return fatal
}
