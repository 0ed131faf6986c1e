package mailings_test

import (
	"encoding/json"
	"testing"

	"directmailer/internal/audience/optouts"
	"directmailer/internal/feedback"
	"directmailer/internal/mailings"
)

func TestAMailingKnowsWhichRequestsItRespects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct{ id, audience, input, want string }{
		{"list", "people", `{"topic": "news"}`, "people news {} {all,list:people,topic:news}"},
		{"query", "query:crm", `{}`, "query:crm - {} {all}"},
		{"query-2", "continue:query", `{"topic": "offers"}`, "query:crm offers {} {all,topic:offers}"},
		{"list-2", "continue:list", `{}`, "people news {} {all,list:people,topic:news}"},
		{"list-3", "continue:list-2", `{"topic": "offers", "ignore_opt_outs": ["list"]}`,
			"people offers {list} {all,topic:offers}"},
		{"list-4", "continue:list-3", `{}`, "people offers {} {all,list:people,topic:offers}"},
		{"recall", "people", `{"topic": "news", "ignore_opt_outs": ["all", "list", "topic"]}`,
			"people news {all,list,topic} {}"},
		{"all", "people", `{"ignore_opt_outs": ["all"]}`, "people - {all} {list:people}"},
		{"gone", "continue:nobody", `{}`, "continue:nobody - {} {all}"},
	} {
		err := f.store.Reserve(t.Context(), c.id, "run", c.audience, json.RawMessage(c.input), feedback.Marks{}, "default")
		if err != nil {
			t.Fatal(err)
		}
		got := f.strings(`SELECT origin || ' ' || coalesce(nullif(topic, ''), '-') || ' '
			|| ignore_opt_outs::text || ' ' || opt_out_scopes::text FROM mailings WHERE id = $1`, c.id)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: got %q, want %q", c.id, got, c.want)
		}
	}
}

func TestARequestIsAboutTheTopicOrElseTheListOrElseAllMail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		origin, topic string
		want          optouts.Scope
	}{
		{"people", "news", optouts.Topic("news")},
		{"people", "", optouts.List("people")},
		{"query:crm", "news", optouts.Topic("news")},
		{"query:crm", "", optouts.All},
		{"continue:nobody", "", optouts.All},
	} {
		if got := mailings.RequestScope(c.origin, c.topic); got != c.want {
			t.Errorf("%q, topic %q: got %v, want %v", c.origin, c.topic, got, c.want)
		}
	}
	if got := (mailings.Withheld{Bad: 1, Answered: 4}).Share(); got != 0.25 {
		t.Errorf("1 of 4 is a share of %v", got)
	}
}
