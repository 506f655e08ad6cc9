package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flavorless/flavorless/events"
)

// maxStatements is the maximum number of statements in a BatchExecuteStatement.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html
const maxStatements = 25

// statements are the four statements that write a row. INSERT fails with DuplicateItem if the item exists, and UPDATE
// fails with ConditionalCheckFailed if the item is not older or does not exist.
//
// An update of the flavor always removes expires, even if no tombstone was found: another writer may have removed the
// person in the meantime, and the time to live would then delete the new item.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.insert.html
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.update.html
type statements struct{ insert, update, insertTombstone, updateTombstone *string }

func newStatements(table string) statements {
	const older = ` WHERE "shard"=? AND "person"=? AND "version"<?`
	in := func(s string) *string { return aws.String(strings.ReplaceAll(s, "favorites", `"`+table+`"`)) }
	return statements{
		insert:          in(`INSERT INTO favorites VALUE {'shard':?,'person':?,'flavor':?,'version':?}`),
		insertTombstone: in(`INSERT INTO favorites VALUE {'shard':?,'person':?,'expires':?,'version':?}`),
		update:          in(`UPDATE favorites SET "flavor"=? SET "version"=? REMOVE "expires"` + older),
		updateTombstone: in(`UPDATE favorites SET "expires"=? SET "version"=? REMOVE "flavor"` + older),
	}
}

// write writes up to maxStatements rows that are newer than the stored ones.
func (t *Table) write(ctx context.Context, rows []*row, expires types.AttributeValue) error {
	for again := t.backoff(ctx, rowsReserve); len(rows) > 0; {
		left, why, err := t.writeOnce(ctx, rows, expires)
		if rows = left; err == nil && len(rows) > 0 {
			err = again.wait(ctx, len(rows), why)
		}
		if err != nil {
			return fmt.Errorf("writing favorites: %w", err)
		}
	}
	return nil
}

// writeOnce returns the rows that must be written again, and why.
func (t *Table) writeOnce(ctx context.Context, rows []*row,
	expires types.AttributeValue) (left []*row, why, err error) {
	in := &dynamodb.BatchExecuteStatementInput{Statements: make([]types.BatchStatementRequest, len(rows))}
	for i, r := range rows {
		in.Statements[i] = t.statement(r, expires)
	}
	out, err := t.cfg.Client.BatchExecuteStatement(ctx, in, dontRetryThrottling)
	if throttled(err) {
		return rows, err, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("executing %d statements: %w", len(rows), err)
	}
	if len(out.Responses) != len(rows) {
		return nil, nil, fmt.Errorf("executing %d statements: DynamoDB returned %d responses", len(rows), len(out.Responses))
	}
	for i, r := range rows {
		e := out.Responses[i].Error
		if e == nil {
			continue
		}
		switch faultOf(e.Code) {
		case conditionFailed:
			switch err := t.resolve(ctx, r, e.Item, expires); {
			case throttled(err):
				left, why = append(left, r), err
			case err != nil:
				return nil, nil, err
			}
		case retryable:
			left, why = append(left, r), statementError(e)
		default:
			return nil, nil, fmt.Errorf("writing row %s: %w", r.version, statementError(e))
		}
	}
	return left, why, nil
}

func statementError(e *types.BatchStatementError) error {
	return fmt.Errorf("%s: %s", e.Code, aws.ToString(e.Message))
}

func (t *Table) statement(r *row, expires types.AttributeValue) types.BatchStatementRequest {
	shard, person, version := t.shards[ShardOf(r.Person)], text(r.Person), text(string(r.version))
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

// resolve decides about a row whose condition failed: another writer has written the item, or an earlier attempt whose
// response was lost. found is the stored item, if DynamoDB returned it.
func (t *Table) resolve(ctx context.Context, r *row, found item, expires types.AttributeValue) error {
	if found != nil {
		if r.decide(found); r.outcome != events.Applied {
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
	condition := "attribute_not_exists(" + e.name("person") + ") OR " + e.name("version") + " < " +
		e.value(text(string(r.version)))
	_, err := t.cfg.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.cfg.Favorites, Key: t.key(r.Person),
		UpdateExpression: &update, ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, dontRetryThrottling)
	var failed *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &failed):
		if r.decide(failed.Item); r.outcome == events.Applied {
			return fmt.Errorf("writing row %s: the condition failed although the stored version %s is older: %w",
				r.version, textOf(failed.Item["version"]), err)
		}
	case err != nil:
		return fmt.Errorf("writing row %s: %w", r.version, err)
	default:
		r.outcome = events.Applied
	}
	return nil
}
