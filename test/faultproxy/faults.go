package faultproxy

import (
	"net/http"
	"time"
)

// Rule injects a fault into some calls.
type Rule struct {
	Operation string  // such as "BatchGetItem" or "PublishBatch"; empty for all
	Chance    float64 // probability for a call, or for each entry if the fault is partial; 0 means always
	Skip      int     // number of calls without a fault at the beginning
	Times     int     // most calls with the fault; 0 means no limit
	Fault     Fault
}

// Fault is a fault of a call.
type Fault struct {
	kind   kind
	status int
	code   string
	delay  time.Duration

	held     func()
	refusals int
	bucket   *bucket
}

type kind int

const (
	refuse       kind = iota // answer with an error without executing the call
	before                   // reset the connection before the call is executed
	after                    // reset the connection after the call was executed
	slow                     // delay the call
	partial                  // fail some entries of a batch without executing them
	partialAfter             // report some entries of a batch as failed after executing them
	hold                     // let a transaction lock its items
	rate                     // refuse calls that exceed a rate
)

// Throttle refuses the call as DynamoDB does when a partition has no capacity left.
func Throttle() Fault { return Refuse(http.StatusBadRequest, "ProvisionedThroughputExceededException") }

// InternalError refuses the call with an internal error.
func InternalError() Fault { return Refuse(http.StatusInternalServerError, "InternalServerError") }

// Refuse answers with an error code. The call does not reach the service.
func Refuse(status int, code string) Fault { return Fault{kind: refuse, status: status, code: code} }

// ResetBefore resets the connection before the call reaches the service.
func ResetBefore() Fault { return Fault{kind: before} }

// ResetAfter resets the connection after the service has executed the call, which the caller does not learn.
func ResetAfter() Fault { return Fault{kind: after} }

// Slow delays the call.
func Slow(delay time.Duration) Fault { return Fault{kind: slow, delay: delay} }

// Partial fails entries, which do not reach the service, with HTTP status 200: keys of BatchGetItem become
// UnprocessedKeys; statements of BatchExecuteStatement and entries of PublishBatch fail with the code.
// TransactWriteItems is canceled as a whole, with the code as the reason of those entries.
func Partial(code string) Fault { return Fault{kind: partial, code: code} }

// PartialAfter reports statements of BatchExecuteStatement as failed with the code, after the service has executed
// them.
func PartialAfter(code string) Fault { return Fault{kind: partialAfter, code: code} }

// Hold lets a transaction lock its items: it calls held, and executes the transaction after that many other writes to
// the items have been refused.
func Hold(held func(), refusals int) Fault { return Fault{kind: hold, held: held, refusals: refusals} }

// Rate refuses calls of SNS whose messages exceed a rate. The burst is one second's messages. clock is called once for
// each call.
// https://docs.aws.amazon.com/general/latest/gr/sns.html#limits_sns
func Rate(perSecond float64, clock func() time.Time) Fault {
	f := Refuse(http.StatusTooManyRequests, "Throttled")
	f.kind, f.bucket = rate, &bucket{perSecond: perSecond, left: perSecond, clock: clock}
	return f
}

// bucket is a token bucket.
type bucket struct {
	perSecond, left float64
	clock           func() time.Time
	last            time.Time
}

// take reports whether the bucket had n tokens, and takes them if so.
func (b *bucket) take(n int) bool {
	now := b.clock()
	if !b.last.IsZero() {
		b.left = min(b.perSecond, b.left+b.perSecond*now.Sub(b.last).Seconds())
	}
	b.last = now
	if b.left < float64(n) {
		return false
	}
	b.left -= float64(n)
	return true
}
