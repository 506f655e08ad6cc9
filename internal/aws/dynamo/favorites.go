package dynamo

import (
	"context"
	"fmt"
	"math"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// Lookup gives a person's favorite, strongly consistent: what the last Apply that has returned left, or a later one. An
// unknown or removed person is events.ErrNotFound.
func (t *Table) Lookup(ctx context.Context, person string) (events.Favorite, error) {
	if person == "" || len(person) > events.MaxName { // no key can be that
		return events.Favorite{}, fmt.Errorf("a person of %d bytes: %w", len(person), events.ErrNotFound)
	}
	found, err := t.readItem(ctx, t.cfg.Favorites, t.key(person), fmt.Sprintf("person %q", person))
	if err != nil {
		return events.Favorite{}, err
	}
	f := decodeFavorite(found)
	if f.Flavor == "" {
		return events.Favorite{}, fmt.Errorf("person %q: %w", person, events.ErrNotFound)
	}
	return f, nil
}

func decodeFavorite(found item) events.Favorite {
	return events.Favorite{
		Person: textOf(found["person"]), Flavor: textOf(found["flavor"]), Version: events.Version(textOf(found["version"])),
	}
}

// Team lists up to limit favorites in the byte order of person, those behind after. Removed people are not among them. It
// is strongly consistent, shard by shard: after an upload has become live, it shows all of it.
//
// It merges the shards, reading each in pages of about the share that it is expected to have in the answer: at 1,000
// people the first pages have 1,270, and rarely a second one is needed.
func (t *Table) Team(ctx context.Context, after string, limit int) ([]events.Favorite, error) {
	if limit <= 0 {
		return nil, nil
	}
	m := merge{table: t, page: pageFor(limit), condition: newTeamQuery(t.cfg.Favorites, after)}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(teamQueries)
	for i := range m.shards {
		m.shards[i].number = t.shards[i]
		g.Go(func() error { return m.fill(gctx, &m.shards[i]) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("listing the team: %w", err)
	}
	team := make([]events.Favorite, 0, min(limit, 1024))
	for len(team) < limit {
		f, ok, err := m.next(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the team: %w", err)
		}
		if !ok {
			break
		}
		team = append(team, f)
		m.page = pageFor(limit - len(team))
	}
	return team, nil
}

// teamQueries is how many shards are read at a time. Each that is under way needs a connection; the first request of a
// function has none yet, and would spend more on 16 handshakes than on the queries.
const teamQueries = 4

// pageFor is how many items to read of each shard for so many people: its share, and two standard deviations of that on
// top, since people are spread at random.
func pageFor(limit int) int32 {
	share := float64(limit) / shards
	return int32(min(float64(limit), math.Ceil(share+2*math.Sqrt(share))))
}

// merge gives the people of all shards in order.
type merge struct {
	table     *Table
	condition teamQuery
	page      int32
	shards    [shards]shard
}

// shard is what is read of one and not given yet.
type shard struct {
	number types.AttributeValue
	ahead  []events.Favorite
	start  item // of the next page
	ended  bool
}

// next takes the first person of all shards. A shard of which nothing is left is read on first: only then is it known
// that no one in it precedes the others.
func (m *merge) next(ctx context.Context) (events.Favorite, bool, error) {
	var first *shard
	for i := range m.shards {
		s := &m.shards[i]
		if len(s.ahead) == 0 && !s.ended {
			if err := m.fill(ctx, s); err != nil {
				return events.Favorite{}, false, err
			}
		}
		if len(s.ahead) > 0 && (first == nil || s.ahead[0].Person < first.ahead[0].Person) {
			first = s
		}
	}
	if first == nil {
		return events.Favorite{}, false, nil
	}
	f := first.ahead[0]
	first.ahead = first.ahead[1:]
	return f, true, nil
}

// longPage bounds the pages that fill lengthens, in items.
const longPage = 1000

// fill reads pages until there is somebody, or the shard ends. A page can be empty: tombstones are left out after it was
// cut. Where there are many, the pages become longer. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.FilterExpression.html
func (m *merge) fill(ctx context.Context, s *shard) error {
	for page := m.page; len(s.ahead) == 0 && !s.ended; page = min(2*page, longPage) {
		out, err := m.table.cfg.Client.Query(ctx, m.condition.of(s, page))
		if err != nil {
			return marked(err)
		}
		for _, found := range out.Items {
			s.ahead = append(s.ahead, decodeFavorite(found))
		}
		s.start = out.LastEvaluatedKey
		s.ended = s.start == nil
	}
	return nil
}

// teamQuery is what the queries of all shards have in common.
type teamQuery struct {
	table, after                  string
	condition, filter, projection string
	names                         map[string]string
}

func newTeamQuery(table, after string) teamQuery {
	e := newExpression()
	q := teamQuery{
		table: table, after: after, condition: e.name("shard") + " = :shard",
		filter:     "attribute_exists(" + e.name("flavor") + ")",
		projection: e.name("person") + ", " + e.name("flavor") + ", " + e.name("version"),
	}
	if after != "" {
		q.condition += " AND " + e.name("person") + " > :after"
	}
	q.names = e.names
	return q
}

func (q teamQuery) of(s *shard, page int32) *dynamodb.QueryInput {
	values := item{":shard": s.number}
	if q.after != "" {
		values[":after"] = text(q.after)
	}
	return &dynamodb.QueryInput{
		TableName: &q.table, KeyConditionExpression: &q.condition, FilterExpression: &q.filter,
		ProjectionExpression: &q.projection, ExpressionAttributeNames: q.names, ExpressionAttributeValues: values,
		Limit: aws.Int32(page), ExclusiveStartKey: s.start, ConsistentRead: aws.Bool(true),
	}
}
