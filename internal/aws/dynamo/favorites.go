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

// Lookup returns a person's favorite with strong consistency: it includes every Apply that has returned. It returns
// [events.ErrNotFound] for an unknown or removed person.
func (t *Table) Lookup(ctx context.Context, person string) (events.Favorite, error) {
	if person == "" || len(person) > events.MaxName { // DynamoDB would refuse such a key
		return events.Favorite{}, fmt.Errorf("person with a name of %d bytes: %w", len(person), events.ErrNotFound)
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

// Team returns up to limit favorites in byte order of the person, beginning after the person named by after. It leaves
// out removed people. Each shard is read with strong consistency, so the result includes all of every upload that is
// live.
//
// Team merges the shards. It reads each in pages of about its expected share of the result: for 1,000 people the first
// pages have 1,270 items together, and a second page is rarely needed.
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

// teamQueries is the maximum number of shards that are read at a time. Each needs a connection, and the first request
// of a function, which has no connections yet, would spend more time on 16 handshakes than on the queries.
const teamQueries = 4

// pageFor returns how many items to read from each shard for a result of limit people: the shard's expected share plus
// two standard deviations, because a hash distributes people.
func pageFor(limit int) int32 {
	share := float64(limit) / shards
	return int32(min(float64(limit), math.Ceil(share+2*math.Sqrt(share))))
}

// merge returns the people of all shards in order.
type merge struct {
	table     *Table
	condition teamQuery
	page      int32
	shards    [shards]shard
}

// shard is the state of reading one shard.
type shard struct {
	number types.AttributeValue
	ahead  []events.Favorite // read, but not yet returned
	start  item              // of the next page
	ended  bool
}

// next returns the first person of all shards. It first reads the next page of a shard that has nothing ahead, because
// a person in it may come first.
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

// maxPage is the maximum number of items in a page that fill has lengthened.
const maxPage = 1000

// fill reads pages until it finds a person or the shard ends. A page can be empty, because the filter removes
// tombstones after DynamoDB has cut the page. Where there are many tombstones, the pages become longer.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.FilterExpression.html
func (m *merge) fill(ctx context.Context, s *shard) error {
	for page := m.page; len(s.ahead) == 0 && !s.ended; page = min(2*page, maxPage) {
		out, err := m.table.cfg.Client.Query(ctx, m.condition.of(s, page))
		if err != nil {
			return markUnavailable(err)
		}
		for _, found := range out.Items {
			s.ahead = append(s.ahead, decodeFavorite(found))
		}
		s.start = out.LastEvaluatedKey
		s.ended = s.start == nil
	}
	return nil
}

// teamQuery is the common part of the queries of all shards.
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
