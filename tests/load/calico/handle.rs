//! The counts in a handle (`incrementHandle`, `decrementHandle`).

use api::{BlockCidr, Handle, HandleId, Key, Value};

use super::{Calico, Error, RETRIES, Records};

impl<R: Records> Calico<'_, R> {
    pub(super) async fn increment(&self, id: &HandleId, block: BlockCidr, by: u32) -> Result<(), Error> {
        for _ in 0..RETRIES {
            let key = Key::Handle(id.clone());
            let written = match self.records.get(&key).await? {
                None => {
                    let handle = Handle { blocks: [(block, by)].into(), deleted: false };
                    self.records.create(key, Value::Handle(handle)).await
                }
                Some(record) => {
                    let mut handle = record.handle().unwrap().clone();
                    *handle.blocks.entry(block).or_default() += by;
                    self.records.update(key, &record.revision, Value::Handle(handle)).await
                }
            };
            match written {
                Ok(_) => return Ok(()),
                Err(Error::Conflict | Error::Exists) => continue,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Other("Max retries hit".to_string()))
    }

    /// Lowers a count. A missing or too low count is an error, as Calico never expects it: no other worker
    /// lowers the counts of this worker's handles.
    pub(super) async fn decrement(&self, id: &HandleId, block: BlockCidr, by: u32) -> Result<(), Error> {
        for _ in 0..RETRIES {
            let key = Key::Handle(id.clone());
            let Some(record) = self.records.get(&key).await? else {
                self.choke(format!("Can't decrement block {block} of {id}: there is no such handle"));
                return Ok(());
            };
            let mut handle = record.handle().unwrap().clone();
            match handle.blocks.get_mut(&block) {
                Some(count) if *count >= by => *count -= by,
                count => {
                    self.choke(format!("Tried to decrement block {block} of {id} by {by} from {count:?}"));
                    return Ok(());
                }
            }
            handle.blocks.retain(|_, count| *count > 0);
            let written = match handle.blocks.is_empty() {
                true => self.records.delete(key, &record.revision).await,
                false => self.records.update(key, &record.revision, Value::Handle(handle)).await.map(|_| ()),
            };
            match written {
                Err(Error::Conflict) => continue,
                other => return other,
            }
        }
        Err(Error::Other("Max retries hit".to_string()))
    }
}
