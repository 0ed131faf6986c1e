-- +goose Up

-- How many attempts to render a batch have begun and not ended: each of them may have killed its
-- worker. 0 while nobody renders it, and after it is rendered.
ALTER TABLE batches ADD COLUMN renderings smallint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE batches DROP COLUMN renderings;
