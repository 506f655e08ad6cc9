package dynamo_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/feed"
	"github.com/flavorless/flavorless/test/conformance"
	"github.com/flavorless/flavorless/test/dynamolocal"
)

// emulator is shared by all tests of this package.
var emulator dynamolocal.Server

func TestMain(m *testing.M) {
	m.Run()
	emulator.Stop()
}

func TestConformance(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	conformance.TestTable(t, func(t *testing.T) conformance.TableUnderTest { return open(t, endpoint, endpoint) })
}

// names numbers the tables of the tests.
var names atomic.Int64

// open creates empty tables. The adapter calls endpoint; direct creates the tables and reads the stream.
func open(t testing.TB, endpoint, direct string, options ...func(*dynamodb.Options)) conformance.TableUnderTest {
	t.Helper()
	tables := dynamolocal.Create(t, dynamodb.New(dynamolocal.Options(direct)), fmt.Sprintf("t%d", names.Add(1)))
	table := dynamo.New(dynamo.Config{
		Client: dynamodb.New(dynamolocal.Options(endpoint), options...), Favorites: tables.Favorites,
		Uploads: tables.Uploads, Comparisons: tables.Comparisons,
	})
	stream := dynamolocal.NewStream(direct, tables.Favorites)
	return conformance.TableUnderTest{Store: table, Changes: func(ctx context.Context) ([]events.Change, error) {
		records, err := stream.Drain(ctx)
		if err != nil {
			return nil, err
		}
		return changes(records)
	}}
}

// changes decodes stream records as the announce function does.
func changes(records []streamtypes.StreamRecord) ([]events.Change, error) {
	var all []events.Change
	for _, r := range records {
		change, changed, err := feed.Record{Old: image(r.OldImage), New: image(r.NewImage)}.Change()
		if err != nil {
			return nil, err
		}
		if changed {
			all = append(all, change)
		}
	}
	return all, nil
}

func image(attributes map[string]streamtypes.AttributeValue) feed.Image {
	if attributes == nil {
		return nil
	}
	texts := feed.Image{}
	for name, v := range attributes {
		if s, ok := v.(*streamtypes.AttributeValueMemberS); ok {
			texts[name] = s.Value
		}
	}
	return texts
}
