package temporalclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"directmailer/internal/database"
	"directmailer/workflows"
)

// SearchAttributes says whether the namespace has the mailings' search attributes. Mailings work
// without them: they are for lists and filters of workflows.
type SearchAttributes struct {
	// Usable is true if the attributes are there, or if the server does not tell.
	Usable bool
	// Warning says what is wrong, and names the command for the administrator. It is empty if the
	// attributes are there.
	Warning string
}

// wantedAttributes are the search attributes and their types.
func wantedAttributes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{
		workflows.StateAttribute.GetName(): workflows.StateAttribute.GetValueType(),
		workflows.ListAttribute.GetName():  workflows.ListAttribute.GetValueType(),
	}
}

// RegisterSearchAttributes registers the mailings' search attributes with the namespace, unless
// they are there. A namespace without room for them, or a server that does not let us register
// them, is no error. It returns an error only if the server or the database does not answer, or the
// server has no such namespace.
//
// A server with an SQL database registers a name twice if two clients ask at the same time. Then it
// shows an old value or the new one, as it happens, for ever. So a lock in the database of the
// mailings lets one client after the other register.
func (c *Client) RegisterSearchAttributes(ctx context.Context, db *pgxpool.Pool) (SearchAttributes, error) {
	found, missing, err := c.findSearchAttributes(ctx)
	if err != nil || len(missing) == 0 {
		return found, err
	}
	unlock, err := database.Lock(ctx, db, "search attributes of Direct Mailer")
	if err != nil {
		return SearchAttributes{}, fmt.Errorf("register search attributes with Temporal: %w", err)
	}
	defer unlock()
	found, missing, err = c.findSearchAttributes(ctx)
	if err != nil || len(missing) == 0 { // another client was quicker
		return found, err
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx,
		&operatorservice.AddSearchAttributesRequest{Namespace: c.Namespace, SearchAttributes: missing})
	var exists *serviceerror.AlreadyExists
	switch {
	case err == nil, errors.As(err, &exists):
		return SearchAttributes{Usable: true}, nil
	case noSuchPlace(err):
		return SearchAttributes{}, fmt.Errorf("register search attributes with Temporal: %w", Explain(err))
	}
	return c.without("they cannot be registered: "+refusalOf(err), missing), nil
}

// FindSearchAttributes looks whether the namespace has the mailings' search attributes.
func (c *Client) FindSearchAttributes(ctx context.Context) (SearchAttributes, error) {
	found, missing, err := c.findSearchAttributes(ctx)
	if err == nil && len(missing) > 0 {
		return c.without("they are not registered", missing), nil
	}
	return found, err
}

// findSearchAttributes returns the attributes that can be registered, or else what is known.
func (c *Client) findSearchAttributes(ctx context.Context) (
	found SearchAttributes, missing map[string]enumspb.IndexedValueType, err error,
) {
	missing = wantedAttributes()
	known, err := c.OperatorService().
		ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: c.Namespace})
	switch {
	case noSuchPlace(err):
		return found, nil, fmt.Errorf("read Temporal's search attributes: %w", Explain(err))
	case err != nil:
		found, err = c.trySearchAttributes(ctx, refusalOf(err))
		return found, nil, err
	}
	for name, kind := range known.CustomAttributes {
		want, ok := missing[name]
		switch {
		case ok && want != kind:
			return c.without(fmt.Sprintf("%s has the type %s instead of %s", name, kind, want), missing), nil, nil
		case ok:
			delete(missing, name)
		}
	}
	return SearchAttributes{Usable: true}, missing, nil
}

// noSuchPlace reports whether err means that the server or the namespace is not there.
func noSuchPlace(err error) bool {
	return Unreachable(err) || errors.As(err, new(*serviceerror.NamespaceNotFound)) ||
		errors.As(err, new(*serviceerror.NamespaceInvalidState)) || errors.Is(err, context.Canceled)
}

// trySearchAttributes finds out by a query whether the attributes are there, for a server that does
// not list them: a query with an attribute that is not there is invalid. If queries are refused,
// too, the attributes are believed to be there.
func (c *Client) trySearchAttributes(ctx context.Context, why string) (SearchAttributes, error) {
	wanted := wantedAttributes()
	var conditions []string
	for name := range wanted {
		conditions = append(conditions, name+" = 'x'")
	}
	slices.Sort(conditions)
	_, err := c.WorkflowService().CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: c.Namespace, Query: strings.Join(conditions, " AND ")})
	var invalid *serviceerror.InvalidArgument
	switch {
	case err == nil:
		return SearchAttributes{Usable: true}, nil
	case errors.As(err, &invalid):
		return c.without("Temporal does not let us list or register them: "+why, wanted), nil
	case noSuchPlace(err):
		return SearchAttributes{}, fmt.Errorf("read Temporal's search attributes: %w", Explain(err))
	}
	return SearchAttributes{Usable: true, Warning: "Temporal does not tell whether the mailings' search attributes " +
		"are there (" + why + "), so they are taken to be there. If they are not, mailings do not begin. " +
		c.command(wanted)}, nil
}

// without returns the warning about attributes that are not there.
func (c *Client) without(why string, missing map[string]enumspb.IndexedValueType) SearchAttributes {
	return SearchAttributes{Warning: "mailings go on without the search attributes " +
		strings.Join(names(missing), " and ") + ": " + why + ". " + c.command(missing) + ", then restart the workers"}
}

// command names the command for the administrator.
func (c *Client) command(missing map[string]enumspb.IndexedValueType) string {
	var b strings.Builder
	fmt.Fprintf(&b, "An administrator can create them: `temporal operator search-attribute create --namespace %s",
		c.Namespace)
	for _, name := range names(missing) {
		fmt.Fprintf(&b, " --name %s --type %s", name, missing[name])
	}
	return b.String() + "` (Temporal Cloud: in the namespace's settings)"
}

func names(attributes map[string]enumspb.IndexedValueType) []string {
	var all []string
	for name := range attributes {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// refusalOf returns the reason of a refusal in a few words. Only the text about a value that is not
// valid is the server's own.
func refusalOf(err error) string {
	var invalid *serviceerror.InvalidArgument
	code := status.Code(err)
	switch {
	case Denied(err):
		return "permission denied"
	case errors.As(err, new(*serviceerror.Unimplemented)), code == codes.Unimplemented:
		return "the server does not offer it"
	case errors.As(err, &invalid):
		return strings.TrimRight(invalid.Error(), ".")
	}
	return "the server refuses it"
}
