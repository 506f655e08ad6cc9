package dynamo

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Retries of what fails inside of a call that succeeds: 4.6 seconds on average, 9 at most. What still fails comes again
// with its batch, minutes later, and finds what was written.
const (
	attempts  = 10
	firstWait = 25 * time.Millisecond
	longWait  = 3 * time.Second
)

// backoff counts the attempts at one thing and waits between them.
type backoff struct {
	log     *slog.Logger
	attempt int
}

func (t *Table) backoff() *backoff { return &backoff{log: t.cfg.Logger} }

// wait waits for a random part of a time that doubles with each attempt, or gives why there is no further one.
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (full jitter)
func (b *backoff) wait(ctx context.Context, left int, why error) error {
	b.attempt++
	if b.attempt >= attempts {
		return fmt.Errorf("after %d attempts: %w", attempts, why)
	}
	longest := min(firstWait<<(b.attempt-1), longWait)
	b.log.DebugContext(ctx, "waiting to try again", "left", left, "attempt", b.attempt, "error", why)
	timer := time.NewTimer(rand.N(longest) + 1)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w, while trying again after: %w", ctx.Err(), why)
	case <-timer.C:
		return nil
	}
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
