package aws_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	internalaws "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
)

// TestHungConnection checks that a request which is never answered is retried on another connection.
func TestHungConnection(t *testing.T) {
	var calls atomic.Int32
	connections, release := make(chan string, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections <- r.RemoteAddr
		if calls.Add(1) == 1 {
			<-release
			return
		}
		fmt.Fprint(w, "{}")
	}))
	defer server.Close()
	defer close(release)
	access := internalaws.Access{
		Region: "us-east-1", KeyID: "key", Secret: "secret", Endpoint: func(string) string { return server.URL },
		ResponseTimeout: 100 * time.Millisecond,
	}
	_, err := dynamo.Client(access).GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String("t"), Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if first, second := <-connections, <-connections; first == second {
		t.Errorf("both requests came from %s, want two connections", first)
	}
}
