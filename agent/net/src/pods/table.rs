//! A whole nftables table at once: what stood under its name goes and the new one comes in one transaction.

use nlink::netlink::nftables::{Family, Transaction};
use nlink::netlink::{Connection, Error, Nftables};

/// Replaces the table `name` of both address families by what `fill` puts into it.
pub(super) async fn replace(
    name: &str,
    fill: impl FnOnce(Transaction) -> Result<Transaction, Error>,
) -> Result<(), Error> {
    let connection = Connection::<Nftables>::new()?;
    let stands = connection
        .list_tables_in(Family::Inet)
        .await?
        .iter()
        .any(|table| table.name == name);
    let mut transaction = connection.transaction();
    if stands {
        transaction = transaction.del_table(name, Family::Inet);
    }
    fill(transaction.add_table(name, Family::Inet))?
        .commit(&connection)
        .await
}
