package temporalclient_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"directmailer/internal/dev/servertest"
	"directmailer/internal/temporalclient"
)

const createCommand = "`temporal operator search-attribute create --namespace default " +
	"--name MailingList --type Keyword --name MailingState --type Keyword`"

func register(t *testing.T, address string) temporalclient.SearchAttributes {
	t.Helper()
	c, err := dial(t, address, "default")
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.RegisterSearchAttributes(t.Context(), servertest.Pool(t, servertest.Database(t), 1))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.FindSearchAttributes(t.Context()); err != nil || again.Usable != found.Usable {
		t.Errorf("looked for again: %+v, %v, want %+v", again, err, found)
	}
	return found
}

func wantWithout(t *testing.T, found temporalclient.SearchAttributes, reason string) {
	t.Helper()
	if found.Usable || !strings.Contains(found.Warning, reason) || !strings.Contains(found.Warning, createCommand) {
		t.Errorf("got %+v, want a warning with %s", found, reason)
	}
}

func TestANamespaceWithoutRoomOrPermissionForSearchAttributesIsUsedWithoutThem(t *testing.T) {
	server := servertest.OwnTemporal(t, nil)
	for _, code := range []codes.Code{codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented,
		codes.Unknown} {
		wantWithout(t, register(t, servertest.DenyingTemporal(t, server.Address(), code, "operatorservice")),
			"does not let us list or register them")
		wantWithout(t, register(t, servertest.DenyingTemporal(t, server.Address(), code, "AddSearchAttributes")),
			"cannot be registered")
	}
	servertest.FillSearchAttributes(t, server.Address())
	wantWithout(t, register(t, server.Address()), "cannot be registered: ")
}

func TestSearchAttributesThatCannotBeListedAreFoundByAQueryOrBelieved(t *testing.T) {
	address := servertest.Temporal(t)
	if found := register(t, address); !found.Usable || found.Warning != "" {
		t.Fatalf("got %+v", found)
	}
	for _, code := range []codes.Code{codes.PermissionDenied, codes.Unimplemented} {
		denied := servertest.DenyingTemporal(t, address, code, "operatorservice")
		if found := register(t, denied); !found.Usable || found.Warning != "" {
			t.Errorf("%v: got %+v", code, found)
		}
		denied = servertest.DenyingTemporal(t, address, code, "operatorservice", "CountWorkflowExecutions")
		if found := register(t, denied); !found.Usable || !strings.Contains(found.Warning, createCommand) {
			t.Errorf("%v, and no query: got %+v", code, found)
		}
	}
	if _, err := dialAndRegister(t, servertest.DenyingTemporal(t, address, codes.Unavailable,
		"operatorservice")); err == nil ||
		!temporalclient.Unreachable(err) {
		t.Errorf("a server that is away: %v", err)
	}
}

func dialAndRegister(t *testing.T, address string) (temporalclient.SearchAttributes, error) {
	t.Helper()
	c, err := dial(t, address, "default")
	if err != nil {
		t.Fatal(err)
	}
	pool := servertest.Pool(t, servertest.Database(t), 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return c.RegisterSearchAttributes(ctx, pool)
}

func TestSearchAttributesOfANamespaceThatIsNotThereAreAnError(t *testing.T) {
	address := servertest.Temporal(t)
	for _, at := range []string{address, servertest.DenyingTemporal(t, address, codes.PermissionDenied,
		"operatorservice")} {
		c, err := dial(t, at, "nosuch")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.RegisterSearchAttributes(t.Context(), servertest.Pool(t, servertest.Database(t), 1))
		if err == nil || !strings.Contains(err.Error(), `no namespace "nosuch": set TEMPORAL_NAMESPACE`) {
			t.Errorf("got %v", err)
		}
	}
}
