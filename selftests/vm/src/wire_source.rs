// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads the format's source, `wire.rs`, for what is generated from it or compared with it.

use crate::paths;
use anyhow::{Context, Result, bail};
use std::fs;

/// A constant.
pub struct Constant {
    /// Its comment, a line each.
    pub docs: Vec<String>,
    /// Its name.
    pub name: String,
    /// `u16`, `u32` or `u64`.
    pub kind: String,
    /// Its value as C writes it.
    pub value: String,
}

/// A struct.
pub struct Struct {
    /// Its comment, a line each.
    pub docs: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// A field of a struct.
pub struct Field {
    /// Its comment, a line each.
    pub docs: Vec<String>,
    /// Its name.
    pub name: String,
    /// `u16`, `u32` or `u64`.
    pub kind: String,
    /// Where in the struct, in bytes.
    pub offset: usize,
}

/// What a format consists of.
pub enum Item {
    /// A constant.
    Constant(Constant),
    /// A struct.
    Struct(Struct),
}

/// Reads `wire.rs`.
pub fn read() -> Result<Vec<Item>> {
    let path = paths::root().join("kernel/tree/fs/proc/maps_lockless/wire.rs");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse(&text).with_context(|| path.display().to_string())
}

/// Parses the text of `wire.rs`. What it may not hold is an error, so that nothing is left out.
pub fn parse(text: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for item in syn::parse_file(text)?.items {
        match item {
            syn::Item::Const(item) if item.ident != "_" => {
                items.push(Item::Constant(constant(&item)?));
            }
            syn::Item::Struct(item) => items.push(Item::Struct(structure(&item)?)),
            syn::Item::Const(_) | syn::Item::Use(_) => {}
            _ => bail!("neither a constant nor a struct"),
        }
    }
    Ok(items)
}

fn constant(item: &syn::ItemConst) -> Result<Constant> {
    let name = item.ident.to_string();
    let syn::Expr::Lit(syn::ExprLit {
        lit: syn::Lit::Int(value),
        ..
    }) = &*item.expr
    else {
        bail!("{name} is not a plain number");
    };
    Ok(Constant {
        docs: docs(&item.attrs),
        kind: kind(&item.ty)?.0,
        value: value.to_string().replace('_', ""),
        name,
    })
}

fn structure(item: &syn::ItemStruct) -> Result<Struct> {
    let mut fields = Vec::new();
    let mut offset = 0;
    for field in &item.fields {
        let name = field.ident.as_ref().context("a field without a name")?;
        let (kind, size) = kind(&field.ty)?;
        fields.push(Field {
            docs: docs(&field.attrs),
            name: name.to_string().trim_start_matches("r#").to_owned(),
            kind,
            offset,
        });
        offset += size;
    }
    Ok(Struct {
        docs: docs(&item.attrs),
        name: item.ident.to_string(),
        fields,
    })
}

/// A type's name, and its bytes.
fn kind(ty: &syn::Type) -> Result<(String, usize)> {
    let ident = match ty {
        syn::Type::Path(path) => path.path.get_ident(),
        _ => None,
    };
    if let Some(ident) = ident {
        let name = ident.to_string();
        let bits = name
            .strip_prefix('u')
            .and_then(|bits| bits.parse::<usize>().ok());
        if let Some(bits @ (8 | 16 | 32 | 64)) = bits {
            return Ok((name, bits / 8));
        }
    }
    bail!("a type that is not u8, u16, u32 or u64")
}

fn docs(attributes: &[syn::Attribute]) -> Vec<String> {
    attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}
