package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// mostStatements is how many one BatchExecuteStatement takes.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html
const mostStatements = 25

// statements are the four ways to write a row. INSERT fails with DuplicateItem if there is an item, UPDATE with
// ConditionalCheckFailed if it is not older, or not there.
//
// A set always removes expires, even where no tombstone was seen: somebody may have removed the person meanwhile, and
// the time to live would take what has been set since.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.insert.html
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.update.html
type statements struct{ insert, update, insertTombstone, updateTombstone *string }

func newStatements(table string) statements {
	in := func(s string) *string { return aws.String(strings.ReplaceAll(s, "favorites", `"`+table+`"`)) }
	return statements{
		insert:          in(`INSERT INTO favorites VALUE {'shard':?,'person':?,'flavor':?,'version':?}`),
		insertTombstone: in(`INSERT INTO favorites VALUE {'shard':?,'person':?,'expires':?,'version':?}`),
		update:          in(`UPDATE favorites SET "flavor"=? SET "version"=? REMOVE "expires" WHERE "shard"=? AND "person"=? AND "version"<?`),
		updateTombstone: in(`UPDATE favorites SET "expires"=? SET "version"=? REMOVE "flavor" WHERE "shard"=? AND "person"=? AND "version"<?`),
	}
}

// write stores the rows that are newer than what is.
func (t *Table) write(ctx context.Context, f *fold) error {
	pending := make([]*row, 0, len(f.rows))
	for i := range f.rows {
		if f.rows[i].outcome == events.Applied {
			pending = append(pending, &f.rows[i])
		}
	}
	expires := t.expiry()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(t.cfg.Concurrency)
	for some := range slices.Chunk(pending, mostStatements) {
		g.Go(func() error { return t.writeSome(ctx, some, expires) })
	}
	return g.Wait()
}

func (t *Table) writeSome(ctx context.Context, rows []*row, expires types.AttributeValue) error {
	for again := t.backoff(); ; {
		in := &dynamodb.BatchExecuteStatementInput{Statements: make([]types.BatchStatementRequest, len(rows))}
		for i, r := range rows {
			in.Statements[i] = t.statement(r, expires)
		}
		out, err := t.cfg.Client.BatchExecuteStatement(ctx, in)
		if err != nil {
			return fmt.Errorf("%d statements: %w", len(rows), err)
		}
		if len(out.Responses) != len(rows) {
			return fmt.Errorf("%d statements have %d answers", len(rows), len(out.Responses))
		}
		var left []*row
		var why error
		for i, r := range rows {
			e := out.Responses[i].Error
			if e == nil {
				continue
			}
			switch faultOf(e.Code) {
			case lost:
				if err := t.writeLost(ctx, r, e.Item, expires); err != nil {
					return err
				}
			case busy:
				left, why = append(left, r), statementError(e)
			default:
				return fmt.Errorf("writing row %s: %w", r.version, statementError(e))
			}
		}
		if len(left) == 0 {
			return nil
		}
		if err := again.wait(ctx, len(left), why); err != nil {
			return err
		}
		rows = left
	}
}

func statementError(e *types.BatchStatementError) error {
	return fmt.Errorf("%s: %s", e.Code, aws.ToString(e.Message))
}

func (t *Table) statement(r *row, expires types.AttributeValue) types.BatchStatementRequest {
	shard, person, version := t.shards[shardOf(r.Person)], text(r.Person), text(string(r.version))
	var s types.BatchStatementRequest
	var value types.AttributeValue
	if r.Remove {
		value = expires
	} else {
		value = text(r.Flavor)
	}
	switch {
	case r.stored && r.Remove:
		s.Statement = t.statements.updateTombstone
	case r.stored:
		s.Statement = t.statements.update
	case r.Remove:
		s.Statement = t.statements.insertTombstone
	default:
		s.Statement = t.statements.insert
	}
	if r.stored {
		s.Parameters = []types.AttributeValue{value, version, shard, person, version}
		s.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	} else {
		s.Parameters = []types.AttributeValue{shard, person, value, version}
	}
	return s
}

// writeLost settles a row that met something else than was expected: another writer's row, or its own, written by a
// call whose answer was lost. If the item that stood in the way came along, it may decide already.
func (t *Table) writeLost(ctx context.Context, r *row, met item, expires types.AttributeValue) error {
	if met != nil {
		if r.decide(met); r.outcome != events.Applied {
			return nil
		}
	}
	e := newExpression()
	update := "SET " + e.set("version", text(string(r.version))) + ", "
	if r.Remove {
		update += e.set("expires", expires) + " REMOVE " + e.name("flavor")
	} else {
		update += e.set("flavor", text(r.Flavor)) + " REMOVE " + e.name("expires")
	}
	condition := "attribute_not_exists(" + e.name("person") + ") OR " + e.name("version") + " < " + e.value(text(string(r.version)))
	_, err := t.cfg.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.cfg.Favorites, Key: t.key(r.Person),
		UpdateExpression: &update, ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &failed):
		if r.decide(failed.Item); r.outcome == events.Applied {
			return fmt.Errorf("writing row %s: the stored version %s is older, and yet the condition failed: %w", r.version, textOf(failed.Item["version"]), err)
		}
	case err != nil:
		return fmt.Errorf("writing row %s: %w", r.version, err)
	default:
		r.outcome = events.Applied
	}
	return nil
}
