package dynamolocal

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Options returns the options of a client for an endpoint. The client does not repeat a request that was answered.
func Options(endpoint string) dynamodb.Options {
	return dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), HTTPClient: afterRequest{awshttp.NewBuildableClient()},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

// afterRequest is an HTTP client that returns a response only after its request was written. The SDK closes the body
// of a request as soon as it has the response. If net/http is still writing the body then, it closes the connection
// with an error, and the SDK sends the request again.
type afterRequest struct{ aws.HTTPClient }

func (c afterRequest) Do(r *http.Request) (*http.Response, error) {
	wrote := make(chan struct{}, 1)
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		select {
		case wrote <- struct{}{}:
		default: // it was written on another connection before
		}
	}}
	resp, err := c.HTTPClient.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil {
		return nil, err
	}
	select {
	case <-wrote:
	case <-r.Context().Done():
	}
	return resp, nil
}

// Tables are the names of the tables.
type Tables struct{ Favorites, Uploads, Comparisons string }

// Create creates empty tables like those of the deployment, and deletes them when the test ends. They have no
// time to live, because items expire years after the tests.
func Create(t testing.TB, client *dynamodb.Client, name string) Tables {
	t.Helper()
	tables := Tables{Favorites: name + "-favorites", Uploads: name + "-uploads", Comparisons: name + "-comparisons"}
	create(t, client, &dynamodb.CreateTableInput{
		TableName: &tables.Favorites,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("shard"), AttributeType: types.ScalarAttributeTypeN},
			{AttributeName: aws.String("person"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("shard"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("person"), KeyType: types.KeyTypeRange},
		},
		StreamSpecification: &types.StreamSpecification{
			StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages,
		},
	})
	create(t, client, &dynamodb.CreateTableInput{
		TableName: &tables.Uploads,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("list"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("origin"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String("newest"),
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("list"), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String("origin"), KeyType: types.KeyTypeRange},
			},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	})
	create(t, client, &dynamodb.CreateTableInput{
		TableName: &tables.Comparisons,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("list"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("origin"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("list"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("origin"), KeyType: types.KeyTypeRange},
		},
	})
	return tables
}

func create(t testing.TB, client *dynamodb.Client, in *dynamodb.CreateTableInput) {
	t.Helper()
	in.BillingMode = types.BillingModePayPerRequest
	if _, err := client.CreateTable(context.Background(), in); err != nil {
		t.Fatal(fmt.Errorf("creating table %s: %w", *in.TableName, err))
	}
	t.Cleanup(func() {
		_, err := client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: in.TableName})
		if err != nil {
			t.Errorf("deleting table %s: %v", *in.TableName, err)
		}
	})
}
