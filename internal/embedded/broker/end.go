package broker

import (
	"context"
	"sync"
)

// end is an event that happens at most once, and ends the contexts that are bound to it.
type end struct {
	once     sync.Once
	happened chan struct{}
	cause    error // set before happened is closed
}

func newEnd() *end { return &end{happened: make(chan struct{})} }

// trigger makes the event happen, with its cause. Further calls do nothing.
func (e *end) trigger(err error) {
	e.once.Do(func() {
		e.cause = err
		close(e.happened)
	})
}

// bind returns a context that also ends with the event, and then has its cause.
func (e *end) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-e.happened:
			cancel(e.cause)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
