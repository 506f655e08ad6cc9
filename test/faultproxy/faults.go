package faultproxy

import (
	"net/http"
	"time"
)

// Rule does a fault to some calls.
type Rule struct {
	Operation string  // such as "BatchGetItem" or "PublishBatch"; empty: every one
	Chance    float64 // of a call; or of each entry of it, if the fault is a partial one. 0 is always.
	Skip      int     // how many calls it lets pass first
	Times     int     // how many calls it hits at most; 0 is any number
	Fault     Fault
}

// Fault is what happens to a call.
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
	refuse  kind = iota // answer with an error; nothing happens
	before              // reset the connection; nothing happens
	after               // reset the connection after it has happened
	slow                // later
	partial             // some entries of a batch fail; nothing happens with them
	pretend             // some entries of a batch are said to have failed, though they have not
	hold                // a transaction holds its items for longer
	rate                // refuse what exceeds a rate
)

// Throttle refuses the call as DynamoDB does when a partition is too busy.
func Throttle() Fault { return Refuse(http.StatusBadRequest, "ProvisionedThroughputExceededException") }

// Break refuses the call with an internal error.
func Break() Fault { return Refuse(http.StatusInternalServerError, "InternalServerError") }

// Refuse answers with an error of that code; the call does not reach the judge.
func Refuse(status int, code string) Fault { return Fault{kind: refuse, status: status, code: code} }

// ResetBefore resets the connection before the judge has the call.
func ResetBefore() Fault { return Fault{kind: before} }

// ResetAfter resets the connection after the judge has answered: it has happened, and the caller does not know.
func ResetAfter() Fault { return Fault{kind: after} }

// Slow holds the call up.
func Slow(delay time.Duration) Fault { return Fault{kind: slow, delay: delay} }

// Partial fails single entries under HTTP 200, which never reach the judge: keys of BatchGetItem come back as
// UnprocessedKeys; statements of BatchExecuteStatement and entries of PublishBatch, SendMessageBatch and their like fail
// with the code. TransactWriteItems is cancelled as a whole, with the code as the reason of those entries.
func Partial(code string) Fault { return Fault{kind: partial, code: code} }

// Pretend says that single statements of BatchExecuteStatement failed with the code, after they have been done.
func Pretend(code string) Fault { return Fault{kind: pretend, code: code} }

// Hold lets a transaction hold its items: it calls held, and carries out the transaction after that many other writes to the items
// have been refused.
func Hold(held func(), refusals int) Fault { return Fault{kind: hold, held: held, refusals: refusals} }

// Rate refuses calls of SNS whose messages exceed a rate. A second's worth may come at once. The clock is asked once for each call.
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
